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
