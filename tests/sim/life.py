"""Two years of a fleet in a few seconds: the deciding code itself, a virtual clock, a CA that fails, restarts."""

import asyncio
import random
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from proxyd.core.certificate_state import Blocked, Dormant, Waiting
from proxyd.core.clock_watch import TOLERANCE
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT, CaLimits
from proxyd.core.task import OrderTask, WindowTask
from tests.sim.ca import SimCa, SimCertificate, Storm, Trouble
from tests.sim.disk import Disk
from tests.sim.host import Absence, SimHost, make_hosts
from tests.sim.judge import Judge
from tests.sim.machine import Jump, SimClock, SimMachine
from tests.sim.names import SimNames
from tests.sim.timeline import DAY, DAYS, HOUR, START, Span, Timeline, within

if TYPE_CHECKING:
    from proxyd.certs.certificate import Certificate
    from proxyd.issuance.memory import Memory

CA = "ca"
ROOM = 16
#: Polls of a window that has not changed are one poll for so long.
QUIET = 30 * DAY
_OFFSETS = (3653 * DAY, -3653 * DAY, 30 * DAY, -30 * DAY, 5 * HOUR, -5 * HOUR, 0.3 * HOUR, -0.3 * HOUR)


class Simulation:
    """One seed. `run` returns what was violated, with the story of the host."""

    def __init__(
        self, seed: int, hosts: int, *, limits: CaLimits | None = LETS_ENCRYPT, calm: bool = False, days: int = DAYS
    ) -> None:
        self.seed = seed
        self._end_at = START + days * DAY
        self._limits = limits
        self._calm = calm
        self._rng = random.Random(seed)
        self.ca = SimCa(
            rng=random.Random(seed + 1),
            outages=[] if calm else self._spans(4, 1, 96),
            storms=[] if calm else self._storms(),
            account_refusals=[] if calm or self._rng.random() < 0.7 else self._spans(1, 1, 30),
            revocations=[] if calm else [START + DAY * self._rng.uniform(100, 700)],
            flaky=0 if calm else 0.01,
        )
        self.timeline = Timeline()
        self._machine = SimMachine(self.timeline)
        self._jumps = [] if calm else self._make_jumps()
        self.hosts = {host.lineage: host for host in make_hosts(self._rng, hosts, calm=calm)}
        self._by_name: dict[Hostname, list[SimHost]] = {}
        for host in self.hosts.values():
            self._by_name.setdefault(host.lineage.host, []).append(host)
        wrong = [(one.begin, one.end) for one in self._jumps if one.is_noticed]
        self.judge = Judge(seed, self.ca, self.hosts.values(), wrong, days)
        self._running = 0
        self._life = 0
        self._loop = asyncio.new_event_loop()

    def run(self) -> list[str]:
        """Live, and be judged."""
        with TemporaryDirectory() as directory:
            try:
                self._disk = Disk(Path(directory))
                self._begin_life(is_first=True)
                self._plan_events()
                self._live()
                self._memory.close()
            finally:
                self._loop.close()
        return self.judge.end()

    def _live(self) -> None:
        while (now := self.timeline.now) < self._end_at:
            at = self.timeline.next_at()
            wake = None if self._clock.holds else self.fleet.wake_at(orders=self._running < ROOM)
            if wake is not None and (wait := wake - self._now()) <= timedelta(0):
                self._begin(now)
                at = now
            elif wake is not None:
                at = min(at, now + wait)
            self.timeline.advance(max(now + timedelta(milliseconds=1), min(at, self._end_at)))

    def _now(self) -> datetime:
        """Return the time that the daemon goes by."""
        return self._clock.now()

    # Making the world

    def _spans(self, most: int, shortest: float, longest: float) -> list[Span]:
        found = []
        for _ in range(self._rng.randint(1, most)):
            begin = START + DAY * self._rng.uniform(5, 700)
            found.append((begin, begin + HOUR * self._rng.uniform(shortest, longest)))
        return found

    def _storms(self) -> list[Storm]:
        return [
            Storm(begin=begin, end=end, trouble=self._rng.choice([*Trouble]), share=self._rng.uniform(0.1, 0.9))
            for begin, end in self._spans(6, 1, 72)
        ]

    def _make_jumps(self) -> list[Jump]:
        spans = sorted(self._spans(3, 0.1, 20))
        apart = [span for last, span in zip([(START, START), *spans], spans, strict=False) if last[1] < span[0]]
        return [Jump(begin, end, self._rng.choice(_OFFSETS)) for begin, end in apart]

    def _plan_events(self) -> None:
        for host in self.hosts.values():
            for absence in host.absences:
                self.timeline.at(absence.end, partial(self._mended, host, absence))
        for jump in self._jumps:
            self.timeline.at(jump.begin, partial(self._set_clock, jump.offset))
            self.timeline.at(jump.end, partial(self._set_clock, timedelta(0)))
        for _ in range(0 if self._calm else 6):
            self.timeline.at(START + DAY * self._rng.uniform(1, 720), self._restart)
        for jump in self._jumps:
            if self._rng.random() < 0.3:  # a daemon that knows no other time
                self.timeline.at(jump.begin + (jump.end - jump.begin) / 2, self._restart)

    def _set_clock(self, offset: timedelta, now: datetime) -> None:
        self._machine.offset = offset
        self._clock.look(now)

    # Lives of the daemon

    def _begin_life(self, *, is_first: bool = False) -> None:
        """Only the journal and the certificates are there."""
        found = [host.certificate for host in self.hosts.values() if host.certificate]
        self._clock = SimClock(
            self._machine,
            self.timeline,
            ca=CA,
            reaches=lambda: not self.ca.is_down(self.timeline.now),
            found=[one.validity for one in found],
        )
        self._memory: Memory = self._disk.open(self._clock.steady, is_first=is_first)
        domains = {host.lineage.host: host.domain for host in self.hosts.values()}
        self.fleet = Fleet(
            rng=random.Random(self.seed + 2), registered_domain=lambda name: domains[name], orders_per_ca=4
        )
        now = self._now()
        self._memory.recall_authority(self.fleet.authority(CA, self._limits), now)
        self._names = SimNames(
            fleet=self.fleet,
            memory=self._memory,
            clock=self._clock.steady,
            timeline=self.timeline,
            hosts=self.hosts,
            rng=self._rng,
            left=self._left,
        )
        self.fleet.expect(len(self.hosts))
        for lineage in self.fleet.update(self._plans(), now):
            self._memory.recall(self.fleet, lineage, now)
            if certificate := self.hosts[lineage].certificate:
                # Everything that is asked of a certificate there, the simulated one has.
                self.fleet.found(lineage, self._memory.held(lineage, cast("Certificate", certificate)), now)
            self._names.notice(lineage)
        self.fleet.postponed = lambda lineage, _failure, _until: self._names.notice(lineage)
        self._clock.begin(self._memory, self._righted, self._loop)

    def _restart(self, now: datetime) -> None:
        """Everything in memory is gone; now and then the journal too."""
        self._clock.end()
        self._names.end()
        self._memory.keep_authority(self.fleet.authority(CA), self._now())
        for lineage in self.hosts:
            self._memory.keep_lineage(self.fleet, lineage)
            if held := self.fleet.held(lineage):
                self._memory.keep_held(lineage, held)
        self._memory.close()
        fate = self._rng.random()
        if fate < 0.3:
            (self._disk.lose if fate < 0.15 else self._disk.spoil)()
            self.judge.losses.append(now)
            for host in self.hosts.values():
                host.tried_at = None  # nobody knows any more that it was due
        self.judge.restarts.append(now)
        self._life += 1
        self._running = 0
        for host in self.hosts.values():
            host.asked = host.told_at = host.asleep_since = None
        self._begin_life()

    def _plans(self) -> list[Plan]:
        return [Plan(lineage=one, issuers=(CA,), challenges=("tls-alpn-01", "http-01")) for one in self.hosts]

    def _righted(self) -> None:
        self._memory.clock_righted(self.fleet, self._now())
        self._names.clock_righted()

    # Doing what the fleet says

    def _begin(self, now: datetime) -> None:
        for task in self.fleet.tasks(self._now(), ROOM - self._running):
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
        news = min((at for at in self.ca.revocations if at > now), default=self._end_at) + HOUR * self._rng.uniform(
            0, 12
        )
        self.timeline.at(min(now + QUIET, news), partial(self._tell_window, task))

    def _tell_window(self, task: WindowTask, now: datetime) -> None:
        host = self.hosts[task.lineage]
        if host.asked != task.cert_id:  # the daemon was restarted, or has a newer certificate
            return
        answers = not self.ca.is_down(now) and self._clock.answered() is None
        self.fleet.authority(CA).has_ari |= answers
        window = self.ca.window(task.cert_id, now) if answers else None
        is_right = window is not None and (window.start, window.end) == self.ca.right_window(task.cert_id, now)
        host.asked, host.told_at = None, now if is_right else None  # what told nothing is asked again soon
        if window and window.cert_id == task.cert_id and window.end < self.ca.issued[task.cert_id].not_before:
            host.is_misled = True
        self.fleet.window(task.lineage, task.cert_id, window, DAY, self._now())

    def _order(self, task: OrderTask, now: datetime) -> None:
        host = self.hosts[task.lineage]
        if abs(self._now() - now) <= TOLERANCE:  # else it may be due by the wrong time only
            host.tried_at = host.tried_at or now
        if host.excused and host.excused[-1][1] > now:  # what waited waits no longer
            host.excused[-1] = host.excused[-1][0], now
        if host.asleep_since:
            self.judge.ordered_asleep(host, host.asleep_since, now)
            host.asleep_since = now
        self._running += 1
        refused = None if self.ca.is_down(now) else self._clock.answered()
        refused = refused or self.ca.place(task.order, host.domain, now, is_refused=within(host.refusals, now))
        seconds = self.ca.seconds(now)
        if seconds > 60:
            self._hindered(host, now)
        self.timeline.at(now + timedelta(seconds=seconds), partial(self._end, task, refused, self._life))

    def _end(self, task: OrderTask, refused: Failure | None, life: int, now: datetime) -> None:
        host = self.hosts[task.lineage]
        result = refused or self.ca.finish(
            task.order, host.domain, task.challenges[0], host.lifetime, now, valid=host.validates(now)
        )
        if life != self._life:  # the process that asked is gone; a certificate that was made is lost
            return
        self._running -= 1
        if isinstance(result, SimCertificate):
            self._issued(task, host, result, now)
        else:
            self._failed(task, host, result, now)
        self._names.notice(task.lineage)

    def _issued(self, task: OrderTask, host: SimHost, made: SimCertificate, now: datetime) -> None:
        host.tell(now, f"issued {made.cert_id}")
        self.judge.issued(host, made, now)
        if host.asked:  # a question takes no longer than a renewal
            self.fleet.window(task.lineage, host.asked, None, DAY, self._now())
        host.certificate, host.tried_at, host.asked, host.told_at = made, None, None, None
        host.failing_since = host.asleep_since = None
        host.is_misled = False
        self.fleet.authority(CA).has_ari = True
        self._clock.steady.found([_held(made).validity])
        self.fleet.issued(task, _held(made), task.challenges[0], self._now())
        self._names.validated(task.lineage)

    def _failed(self, task: OrderTask, host: SimHost, failure: Failure, now: datetime) -> None:
        host.tell(now, f"{failure.kind.name}: {failure.message}")
        if failure.kind is FailureKind.VALIDATION:
            host.failing_since = host.failing_since or now
            for one in self._by_name[host.lineage.host]:
                one.failed_at = [*one.failed_at[-9:], now]
        else:
            self._hindered(host, now)
        self.fleet.failed(task, failure, self._now())
        state = self.fleet.state(task.lineage)
        if isinstance(state, Waiting) and state.failure.kind is FailureKind.VALIDATION:
            host.excused.append((now, state.retry_at))
        elif isinstance(state, Blocked | Dormant):
            host.excused.append((now, state.probe_at))

    def _hindered(self, host: SimHost, now: datetime) -> None:
        for one in self._by_name[host.lineage.host]:
            one.hindered_at = now

    def _left(self, lineage: Lineage) -> None:
        host, now = self.hosts[lineage], self.timeline.now
        host.tell(now, "dormant")
        self.judge.dormant(host, now)
        self.fleet.left(lineage, self._now())
        host.asleep_since = now - 7 * DAY
        host.excused.append((now, now + 7 * DAY))

    def _mended(self, host: SimHost, absence: Absence, now: datetime) -> None:
        """The names point here again: from now on the promise holds."""
        state = self.fleet.state(host.lineage)
        waits = isinstance(state, Waiting | Blocked) and state.failure.may_be_dns
        is_dormant = isinstance(state, Dormant)
        host.tell(now, f"mended: {absence.why.value}, state {type(state).__name__}")
        if is_dormant or waits:
            twins = len(self._by_name[host.lineage.host]) - 1
            found = partial(
                self.judge.returned,
                host,
                absence,
                is_dormant=is_dormant,
                was_valid=host.certificate is not None,
                failing_since=host.failing_since,
            )
            self.timeline.at(self.judge.promise(absence, twins), lambda at: found(now=at))


def _held(certificate: SimCertificate) -> Held:
    return Held(
        validity=certificate.validity,
        serial=certificate.serial,
        cert_id=certificate.cert_id,
        issuer=CA,
        is_owned=True,
    )
