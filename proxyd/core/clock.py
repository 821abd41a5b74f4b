"""Time as a collaborator, so that tests can live two years in a second."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time. Neither method blocks; `now` may jump, `monotonic` never goes back."""

    def now(self) -> datetime:
        """Return the wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start."""
        ...


class MachineClock(Clock, Protocol):
    """The clocks of a machine: what somebody sets, and what nobody can."""

    def elapsed(self) -> float:
        """Return seconds since an arbitrary start; unlike `monotonic` it counts while the machine sleeps."""
        ...
