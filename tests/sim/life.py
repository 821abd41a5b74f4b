"""Two years of a fleet in a few seconds: the deciding code itself, a virtual clock, a CA that fails, restarts."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from proxyd.core.certificate_state import Blocked, Dormant, Waiting
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT, CaLimits
from proxyd.core.renewal import Validity, renew_at
from proxyd.core.task import OrderTask, WindowTask
from tests.sim.ca import DAY, HOUR, SimCa, SimCertificate, usual_window

START = datetime(2027, 1, 1, tzinfo=UTC)
END = START + 730 * DAY
CA = "ca"
ROOM = 4
#: Polls of a window that has not changed are one poll for so long.
QUIET = 15 * DAY


@dataclass(slots=True, kw_only=True)
class SimHost:
    lineage: Lineage
    domain: str
    lifetime: timedelta
    away: list[tuple[datetime, datetime]]  # when its DNS points elsewhere
    certificate: SimCertificate | None = None
    tried_at: datetime | None = None  # the first order that would replace `certificate`
    told_at: datetime | None = None  # when this life of the daemon was last told the window of `certificate`
    asked: str | None = None  # the certificate whose quiet poll is under way
    story: list[str] = field(default_factory=list)
    excused: list[tuple[datetime, datetime]] = field(default_factory=list)  # waits that the schedule demands

    def is_away(self, now: datetime) -> bool:
        return any(begin <= now < end for begin, end in self.away)

    def tell(self, now: datetime, what: str) -> None:
        self.story = [*self.story[-30:], f"{now:%Y-%m-%d %H:%M} {what}"]


class Simulation:
    """One seed. `run` returns what was violated, with the story of the host."""

    def __init__(self, seed: int, hosts: int, *, limits: CaLimits | None = LETS_ENCRYPT, calm: bool = False) -> None:
        self.seed = seed
        self._limits = limits
        self._rng = random.Random(seed)
        self.ca = SimCa(
            rng=random.Random(seed + 1),
            outages=[] if calm else self._intervals(4, 1, 96),
            revocations=[] if calm else [START + DAY * self._rng.uniform(100, 700)],
            flaky=0 if calm else 0.01,
        )
        self.wrong_clock = [] if calm else self._intervals(2, 1, 20)
        self.hosts = {host.lineage: host for host in self._make_hosts(hosts, calm)}
        self.violations: list[str] = []
        self.renewals: list[datetime] = []
        self._events: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._count = 0
        self._running = 0
        self._life = 0
        self.fleet = self._new_fleet()

    def run(self) -> list[str]:
        self.fleet.update(self._plans(), START)
        for host in self.hosts.values():
            for _, back in host.away:
                self._at(back + timedelta(seconds=30), partial(self._wish, host.lineage))
        for _ in range(0 if self.ca.flaky == 0 else 6):
            self._at(START + DAY * self._rng.uniform(1, 720), self._restart)
        now = START
        while now < END:
            self._begin(now)
            times = [self._events[0][0]] if self._events else []
            if self._running < ROOM and (wake := self.fleet.wake_at()) is not None:
                times.append(wake)
            now = max(now + timedelta(milliseconds=1), min(times, default=END))
            while self._events and self._events[0][0] <= now:
                heapq.heappop(self._events)[2](now)
        self._judge_orders()
        return self.violations

    # Making the world

    def _intervals(self, most: int, shortest: float, longest: float) -> list[tuple[datetime, datetime]]:
        found = []
        for _ in range(self._rng.randint(1, most)):
            begin = START + DAY * self._rng.uniform(5, 700)
            found.append((begin, begin + HOUR * self._rng.uniform(shortest, longest)))
        return found

    def _make_hosts(self, count: int, calm: bool) -> list[SimHost]:
        made = []
        for number in range(count):
            shared = self._rng.random() < 0.3
            domain = f"shared{number % 7}.com" if shared else f"own{number}.com"
            name = Hostname(f"h{number}.{domain}")
            lifetime = self._rng.choice((90, 90, 90, 45, 45, 160 / 24)) * DAY
            leaves = [] if calm or self._rng.random() < 0.8 else self._intervals(2, 1, 24 * 60)
            for kind in ("p256", "rsa2048") if self._rng.random() < 0.1 else ("p256",):
                lineage = Lineage(host=name, names=(name,), key_kind=kind)
                made.append(SimHost(lineage=lineage, domain=domain, lifetime=lifetime, away=leaves))
        return made

    def _plans(self) -> list[Plan]:
        return [Plan(lineage=one, issuers=(CA,), challenges=("http-01",)) for one in self.hosts]

    def _new_fleet(self) -> Fleet:
        domains = {host.lineage.host: host.domain for host in self.hosts.values()}
        fleet = Fleet(rng=random.Random(self.seed + 2), registered_domain=lambda name: domains[name])
        fleet.authority(CA, self._limits).has_ari = True
        return fleet

    def _restart(self, now: datetime) -> None:
        """Everything in memory is gone; the journal and the certificates are there."""
        old = self.fleet
        documents = {lineage: old.document(lineage) for lineage in self.hosts}
        authority = old.authority(CA).to_document(now)
        self.fleet = self._new_fleet()
        self._life += 1
        self._running = 0
        for host in self.hosts.values():
            host.asked = host.told_at = None
        self.fleet.authority(CA).read_document(authority, now)
        for lineage in self.fleet.update(self._plans(), now):
            self.fleet.restore(lineage, documents[lineage], now)
            if certificate := self.hosts[lineage].certificate:
                self.fleet.found(lineage, _held(certificate), now)

    # Doing what the fleet says

    def _wish(self, lineage: Lineage, now: datetime) -> None:
        self.fleet.wish(lineage, now)

    def _at(self, at: datetime, do: Callable[[datetime], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, do))

    def _begin(self, now: datetime) -> None:
        for task in self.fleet.tasks(now, ROOM - self._running):
            match task:
                case OrderTask():
                    self._order(task, now)
                case WindowTask():
                    self._ask(task, now)

    def _ask(self, task: WindowTask, now: datetime) -> None:
        """Quiet polls are coalesced: after the first answer the next one comes when it may be another."""
        host = self.hosts[task.lineage]
        host.asked = task.cert_id
        told_at = host.told_at
        if told_at is None or any(told_at < at <= now for at in self.ca.revocations):
            self._tell_window(task, now)
            return
        news = min((at for at in self.ca.revocations if at > now), default=END) + HOUR * self._rng.uniform(0, 12)
        self._at(min(now + QUIET, news), partial(self._tell_window, task))

    def _tell_window(self, task: WindowTask, now: datetime) -> None:
        host = self.hosts[task.lineage]
        if host.asked == task.cert_id:  # else the daemon was restarted, or has a newer certificate
            host.asked, host.told_at = None, now
            window = None if self.ca.is_down(now) else self.ca.window(task.cert_id, now)
            self.fleet.window(task.lineage, task.cert_id, window, DAY, now)

    def _order(self, task: OrderTask, now: datetime) -> None:
        host = self.hosts[task.lineage]
        host.tried_at = host.tried_at or now
        if any(begin <= now < end for begin, end in self.wrong_clock):
            self.fleet.failed(task, Failure(kind=FailureKind.LOCAL, message="clock"), now)
            return
        self._running += 1
        refused = self.ca.place(task.order, host.domain, now)
        slow = self._rng.uniform(2, 40) if self._rng.random() < 0.99 else self._rng.uniform(60, 600)
        life = self._life
        self._at(now + timedelta(seconds=slow), lambda at: self._end(task, refused, life, at))

    def _end(self, task: OrderTask, refused: Failure | None, life: int, now: datetime) -> None:
        host = self.hosts[task.lineage]
        result = refused or self.ca.finish(task.order, host.domain, not host.is_away(now), host.lifetime, now)
        if life != self._life:  # the process that asked is gone; a certificate that was made is lost
            return
        self._running -= 1
        if isinstance(result, SimCertificate):
            host.tell(now, f"issued {result.cert_id}")
            if host.certificate:
                self.renewals.append(now)
                self._judge_expiry(host, now)
            if host.asked:  # a question takes no longer than a renewal
                self.fleet.window(task.lineage, host.asked, None, DAY, now)
            host.certificate, host.tried_at, host.asked, host.told_at = result, None, None, None
            self._at(result.not_after, partial(self._expired, host, result))
            self.fleet.issued(task, _held(result), "http-01", now)
            return
        host.tell(now, f"{result.kind.name}: {result.message}")
        self.fleet.failed(task, result, now)
        state = self.fleet.state(task.lineage)
        if isinstance(state, Waiting) and state.failure.kind is FailureKind.VALIDATION:
            host.excused.append((now, state.retry_at))
        elif isinstance(state, Blocked | Dormant):
            host.excused.append((now, state.probe_at))

    # Judging

    def _expired(self, host: SimHost, certificate: SimCertificate, now: datetime) -> None:
        if host.certificate is certificate:
            self._judge_expiry(host, now)

    def _judge_expiry(self, host: SimHost, now: datetime) -> None:
        """A certificate that ran out is a violation if for two hours in a row nothing stood in the way."""
        old = host.certificate
        if old is None or now < old.not_after:
            return
        due = min(host.tried_at or old.not_after, _latest_due(old))
        trouble = sorted([*self.ca.outages, *host.away, *self.wrong_clock, *host.excused])
        free_since, longest = due, timedelta(0)
        for begin, end in trouble:
            if end <= due or begin >= old.not_after:
                continue
            longest = max(longest, begin - free_since)
            free_since = max(free_since, end)
        longest = max(longest, old.not_after - free_since)
        backlog = HOUR * len(self.hosts) / 100
        if longest > 2 * HOUR + backlog:
            story = "\n  ".join(host.story)
            self._violate(f"{host.lineage} expired {old.not_after} though all worked for {longest}:\n  {story}")

    def _judge_orders(self) -> None:
        for refusal in self.ca.refusals:
            self._violate(f"the CA had to refuse us: {refusal}")
        self._judge_spread()

    def _judge_spread(self) -> None:
        if not self.renewals:
            self._violate("nothing was renewed in two years")
            return
        troubled = [*self.ca.outages, *self.wrong_clock, *((at, at) for at in self.ca.revocations)]
        calm = [at for at in self.renewals if not any(a - HOUR <= at < b + 4 * DAY for a, b in troubled)]
        days = Counter(at.date() for at in calm)
        mean = len(self.renewals) / 730
        day, peak = days.most_common(1)[0]
        if len(self.hosts) < 1000 and peak > 3 * mean + 5:
            self._violate(f"{peak} renewals on {day}, the mean is {mean:.1f}")
        if len(self.hosts) >= 1000:
            hours = Counter(at.replace(minute=0, second=0, microsecond=0) for at in calm)
            hour, peak = hours.most_common(1)[0]
            if peak > 3 * mean / 24 + 1:
                self._violate(f"{peak} renewals in the hour of {hour}, the mean is {mean / 24:.1f}")

    def _violate(self, what: str) -> None:
        self.violations.append(f"seed {self.seed}: {what}")


def _latest_due(certificate: SimCertificate) -> datetime:
    """By the rule, or at the end of the CA's window where that is later; never in the last twentieth."""
    validity = Validity(not_before=certificate.not_before, not_after=certificate.not_after)
    _, end = usual_window(certificate)
    return min(max(renew_at(validity, None, 0), end), certificate.not_after - validity.lifetime / 20)


def _held(certificate: SimCertificate) -> Held:
    return Held(
        validity=Validity(not_before=certificate.not_before, not_after=certificate.not_after),
        serial=int(certificate.cert_id.partition(".")[2], 16),
        cert_id=certificate.cert_id,
        issuer=CA,
        is_owned=True,
    )
