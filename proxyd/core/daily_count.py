"""How many new names the last 24 hours brought, in two dozen numbers."""

from collections.abc import Mapping
from datetime import UTC, datetime

#: Under this name the count of new names under wildcard hosts is kept.
NEW_NAMES = "on demand"
_HOURS = 24
_SECONDS = 3600


class DailyCount:
    """Counted by the hour: an event counts for 24 to 25 hours. Deterministic: time is a parameter."""

    def __init__(self) -> None:
        self._hours: dict[int, int] = {}

    def total(self, now: datetime) -> int:
        """Return how many were counted; what lies in the future was counted by a wrong clock."""
        hour = _hour(now)
        self._hours = {at: count for at, count in self._hours.items() if hour - _HOURS <= at <= hour}
        return sum(self._hours.values())

    def copy(self) -> "DailyCount":
        """Return one that counts no further."""
        made = DailyCount()
        made._hours = dict(self._hours)
        return made

    def free_at(self, most: int, now: datetime) -> datetime | None:
        """Return when less than `most` are counted again, None: now."""
        left = self.total(now)
        for at, count in sorted(self._hours.items()):
            if left < most:
                break
            left, free = left - count, (at + _HOURS + 1) * _SECONDS
            if left < most:
                return datetime.fromtimestamp(free, UTC)
        return None

    def add(self, now: datetime) -> None:
        """Count one more."""
        self._hours[_hour(now)] = self._hours.get(_hour(now), 0) + 1

    def to_document(self, now: datetime) -> dict[str, object]:
        """Return what a restart must not forget, as JSON values."""
        self.total(now)
        return {str(at): count for at, count in self._hours.items()}

    def read_document(self, document: Mapping[str, object], now: datetime) -> None:
        """Take over what `to_document` gave. Broken parts are skipped."""
        for at, count in document.items():
            if at.isascii() and at.isdigit() and len(at) < 10 and isinstance(count, int) and count > 0:
                self._hours[int(at)] = count
        self.total(now)


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // _SECONDS
