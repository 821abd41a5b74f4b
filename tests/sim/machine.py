"""A machine whose wall clock is set wrong now and then, and the real code that has to notice."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.core.clock_watch import TOLERANCE
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.renewal import Validity
from proxyd.issuance.clock_guard import ClockGuard
from proxyd.issuance.memory import Memory
from proxyd.issuance.steady_clock import SteadyClock
from proxyd.version import RELEASED
from tests.sim.timeline import DAY, Timeline

#: A wall that is further off makes the CA's TLS certificate seem invalid.
_TLS_FAILS = 40 * DAY
_LOOK_AGAIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Jump:
    """From `begin` to `end` the wall clock is off by so much."""

    begin: datetime
    end: datetime
    offset: timedelta

    @property
    def is_noticed(self) -> bool:
        return abs(self.offset) > TOLERANCE


class SimMachine:
    """Implements MachineClock."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._start = timeline.now
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return self._timeline.now + self.offset

    def monotonic(self) -> float:
        return (self._timeline.now - self._start).total_seconds()

    def elapsed(self) -> float:
        return self.monotonic()


class SimClock:
    """The clock of one life of the daemon; `reaches` says whether the CA `ca` answers now."""

    def __init__(
        self,
        machine: SimMachine,
        timeline: Timeline,
        *,
        ca: str,
        reaches: Callable[[], bool],
        found: list[Validity],
    ) -> None:
        self._machine = machine
        self._timeline = timeline
        self._ca = ca
        self._reaches = reaches
        self._is_over = False
        self._is_looking = False
        self._guard: ClockGuard | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.steady = SteadyClock(machine, released=RELEASED)
        self.steady.found(found)

    def begin(self, memory: Memory, righted: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Watch from now on."""
        self._guard = guard = ClockGuard(self.steady, memory=memory, ask=self._ask, righted=righted)
        memory.is_time_sure = lambda: guard.is_sure
        self._loop = loop
        self.look(self._timeline.now)

    def end(self) -> None:
        """The daemon stops."""
        self._is_over = True

    @property
    def holds(self) -> bool:
        """Whether nothing may be ordered. A wall that never was wrong is not asked about: that is most of the time."""
        return self._is_looking and self._guard is not None and self._guard.holds

    def now(self) -> datetime:
        """Return the time that the daemon goes by; a wall that is right and believed is not asked: it takes long."""
        return self.steady.now() if self._machine.offset or self._is_looking else self._timeline.now

    def look(self, now: datetime) -> None:
        """Look at the clock, and again while it is in doubt."""
        if self._is_over or self._guard is None or self._loop is None:
            return
        self._loop.run_until_complete(self._guard.look())
        self._is_looking = self._guard.doubt is not None
        if self._is_looking:
            self._timeline.at(now + _LOOK_AGAIN, self.look)

    def answered(self) -> Failure | None:
        """Say that the CA's answer is there; return why it is not believed (issuance/acme_transport.py)."""
        if abs(self._machine.offset) > _TLS_FAILS:
            return Failure(kind=FailureKind.CA, message="certificate verify failed")
        self.steady.dated(self._ca, self._timeline.now)
        if abs(self.steady.now() - self._timeline.now) > TOLERANCE:
            return Failure(kind=FailureKind.LOCAL, message="the clock is not the CA's")
        return None

    async def _ask(self) -> bool:
        if self._reaches() and abs(self._machine.offset) <= _TLS_FAILS:
            self.steady.dated(self._ca, self._timeline.now)
        return True
