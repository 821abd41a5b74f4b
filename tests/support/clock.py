"""A clock that moves when told."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Implements MachineClock."""

    def __init__(self, start: datetime = datetime(2027, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = timedelta(0)

    def now(self) -> datetime:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed.total_seconds()

    def elapsed(self) -> float:
        return self._elapsed.total_seconds()

    def jump(self, by: timedelta) -> None:
        """Set the wall clock, as nobody should."""
        self._start += by

    def advance(self, by: timedelta) -> None:
        self._elapsed += by
