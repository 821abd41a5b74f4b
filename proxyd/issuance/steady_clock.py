"""The time that the daemon goes by: the machine's, unless that has jumped and nobody confirms it."""

from collections.abc import Iterable
from datetime import datetime

from proxyd.core.clock import MachineClock
from proxyd.core.clock_watch import ClockWatch, Doubt
from proxyd.core.renewal import Validity


class SteadyClock:
    """Implements Clock. Every thread may ask."""

    def __init__(self, machine: MachineClock, *, released: datetime) -> None:
        self._machine = machine
        self._watch = ClockWatch(machine.now(), machine.elapsed(), released=released)

    def now(self) -> datetime:
        return self._watch.now(self._machine.now(), self._machine.elapsed())

    def monotonic(self) -> float:
        return self._machine.monotonic()

    @property
    def doubt(self) -> Doubt | None:
        """Return why the machine's clock is not believed, or None."""
        return self._watch.doubt(self._machine.now(), self._machine.elapsed())

    @property
    def is_behind(self) -> bool:
        """Return whether the machine's clock is ahead of `now`."""
        return self._machine.now() > self.now()

    @property
    def is_confirmed(self) -> bool:
        """Return whether a CA said that `now` is right."""
        return self._watch.is_confirmed

    @property
    def steps(self) -> int:
        """Return how often `now` was corrected by more than the tolerance."""
        return self._watch.steps

    def found(self, validities: Iterable[Validity]) -> None:
        """Take what the cache has as a measure."""
        self._watch.found(validities)

    def dated(self, by: str, date: datetime | None) -> None:
        """Say how the CA `by` dates its answer; None: not at all, but its certificate is valid by our clock."""
        wall = self._machine.now()
        self._watch.dated(by, wall if date is None else date, wall, self._machine.elapsed())
