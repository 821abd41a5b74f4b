"""A host as the world knows it: where its names point and when, who visits it, what it serves."""

import random
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from proxyd.core.caa import CaaRecord
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.name_view import NameView, Port80, Reached
from tests.sim.ca import SimCertificate
from tests.sim.timeline import DAY, HOUR, START, Span

_HERE, _ELSEWHERE = "203.0.113.7", "198.51.100.9"


class Away(Enum):
    """Why a CA cannot validate a name."""

    ELSEWHERE = "another address"
    GONE = "no address"
    SILENT = "its DNS does not answer"
    CAA = "its CAA record names another CA"
    CLOSED = "a firewall in front of port 80"


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """The CA's resolver sees both ends later than ours: it may keep an answer for a minute."""

    begin: datetime
    end: datetime
    why: Away
    lag: timedelta = timedelta(0)

    @property
    def span(self) -> Span:
        return self.begin, self.end

    def holds(self, now: datetime) -> bool:
        return self.begin <= now < self.end

    @property
    def view(self) -> NameView:
        """Return what our look sees meanwhile."""
        match self.why:
            case Away.ELSEWHERE:
                return _view((_ELSEWHERE,), Port80.OTHER)
            case Away.GONE:
                return _view((), Port80.UNKNOWN)
            case Away.SILENT:
                return NameView(addresses=None, caa=None, trouble="SERVFAIL")
            case Away.CAA:
                return _view((_HERE,), Port80.OURS, caa=(CaaRecord(0, "issue", "other.ca"),))
            case Away.CLOSED:
                return _view((_HERE,), Port80.CLOSED)


def _view(addresses: tuple[str, ...], port80: Port80, caa: tuple[CaaRecord, ...] = ()) -> NameView:
    reached = tuple(Reached(one, port80, port80.value) for one in addresses)
    return NameView(addresses=addresses, caa=caa, reached=reached)


_GOOD = _view((_HERE,), Port80.OURS)


@dataclass(slots=True, kw_only=True)
class SimHost:
    """One lineage. Two key kinds of a host share the absences."""

    lineage: Lineage
    domain: str
    lifetime: timedelta
    absences: tuple[Absence, ...]
    refusals: list[Span]  # when the CA refuses the name as such
    keeps_visitors: bool  # also while its DNS points elsewhere: a monitor, a hosts file
    has_visitors: bool
    certificate: SimCertificate | None = None
    tried_at: datetime | None = None  # the first order that would replace `certificate`
    told_at: datetime | None = None  # when this life of the daemon was last told the window of `certificate`
    is_misled: bool = False  # the CA told a window of long ago: it wants `certificate` replaced at once
    asked: str | None = None  # the certificate whose quiet poll is under way
    story: list[str] = field(default_factory=list)
    excused: list[Span] = field(default_factory=list)  # waits that the schedule demands
    hindered_at: datetime | None = None  # when the CA last failed, or was slow, for one of its key kinds
    failing_since: datetime | None = None  # the first failed validation since the last certificate
    asleep_since: datetime | None = None  # dormant
    failed_at: list[datetime] = field(default_factory=list)  # failed validations of its name, the last few
    issued_at: list[datetime] = field(default_factory=list)
    changes: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changes = sorted({at for one in self.absences for at in one.span})

    def absence(self, now: datetime) -> Absence | None:
        """Return what keeps a CA from validating the name, as our resolver sees it."""
        for one in self.absences:  # not next(): this is asked at every step
            if one.begin <= now < one.end:
                return one
        return None

    def validates(self, now: datetime) -> bool:
        """Return whether the CA finds us."""
        return not any(one.begin + one.lag <= now < one.end + one.lag for one in self.absences)

    def view(self, now: datetime) -> NameView:
        """Return what a look from here sees."""
        absence = self.absence(now)
        return absence.view if absence else _GOOD

    def last_request(self, now: datetime) -> datetime | None:
        """Return when a client last asked for it."""
        if not self.has_visitors:
            return None
        absence = self.absence(now)
        if absence is None or self.keeps_visitors or absence.why not in (Away.ELSEWHERE, Away.GONE):
            return now
        return absence.begin

    def next_change(self, now: datetime) -> datetime | None:
        """Return when a look will see something else."""
        index = bisect_right(self.changes, now)
        return self.changes[index] if index < len(self.changes) else None

    def changed_since(self, since: datetime, now: datetime) -> int:
        """Return how often it changed in (since, now]."""
        return bisect_right(self.changes, now) - bisect_right(self.changes, since)

    def tell(self, now: datetime, what: str) -> None:
        """Keep for people."""
        self.story.append(f"{now:%Y-%m-%d %H:%M:%S} {what}")
        if len(self.story) > 60:
            del self.story[:30]


def make_hosts(rng: random.Random, count: int, *, calm: bool) -> list[SimHost]:
    """Return so many hosts, a tenth of them with two key kinds."""
    made: list[SimHost] = []
    for number in range(count):
        shared = rng.random() < 0.3
        domain = f"shared{number % 7}.com" if shared else f"own{number}.com"
        name = Hostname(f"h{number}.{domain}")
        lifetime = rng.choice((90, 90, 90, 45, 45, 160 / 24)) * DAY
        absences = () if calm or rng.random() < 0.8 else _absences(rng)
        refusals = _refusals(rng) if not calm and rng.random() < 0.02 else []
        has_visitors, keeps = rng.random() < 0.7, rng.random() < 0.2
        made += [
            SimHost(
                lineage=Lineage(host=name, names=(name,), key_kind=kind),
                domain=domain,
                lifetime=lifetime,
                absences=absences,
                refusals=refusals,
                has_visitors=has_visitors,
                keeps_visitors=keeps,
            )
            for kind in (("p256", "rsa2048") if rng.random() < 0.1 else ("p256",))
        ]
    return made


def _absences(rng: random.Random) -> tuple[Absence, ...]:
    """One or two long ones, or some that follow each other within hours."""
    found: list[Absence] = []
    at = START + DAY * rng.uniform(5, 500)
    flaps = rng.random() < 0.15
    for _ in range(rng.randint(3, 12) if flaps else rng.randint(1, 2)):
        length = HOUR * (rng.uniform(0.05, 0.5) if flaps else rng.uniform(1, 60 * 24))
        lag = timedelta(seconds=rng.uniform(0, 60)) if rng.random() < 0.5 else timedelta(0)
        why = rng.choice([Away.ELSEWHERE, Away.ELSEWHERE, Away.GONE, Away.SILENT, Away.CAA, Away.CLOSED])
        if why in (Away.CLOSED, Away.SILENT):
            lag = timedelta(0)
        found.append(Absence(begin=at, end=at + length, why=why, lag=lag))
        at += length + HOUR * (rng.uniform(0.05, 1) if flaps else rng.uniform(1, 100 * 24))
    return tuple(found)


def _refusals(rng: random.Random) -> list[Span]:
    begin = START + DAY * rng.uniform(5, 600)
    return [(begin, begin + DAY * rng.uniform(0.1, 40))]
