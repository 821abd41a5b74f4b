"""The true time of a simulation, and what happens when."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2027, 1, 1, tzinfo=UTC)
DAYS = 730

Span = tuple[datetime, datetime]


class Timeline:
    """Events in the order of their times."""

    def __init__(self) -> None:
        self.now = START
        self._events: list[tuple[datetime, int, Callable[[datetime], None]]] = []
        self._count = 0

    def at(self, at: datetime, do: Callable[[datetime], None]) -> None:
        """Have `do` called at that time, with the time."""
        self._count += 1
        heapq.heappush(self._events, (at, self._count, do))

    def next_at(self) -> datetime:
        """Return when the next event is."""
        return self._events[0][0] if self._events else START + DAYS * DAY

    def advance(self, until: datetime) -> None:
        """Let everything up to then happen."""
        while self._events and self._events[0][0] <= until:
            at, _, do = heapq.heappop(self._events)
            self.now = max(self.now, at)
            do(self.now)
        self.now = max(self.now, until)


def within(spans: list[Span], now: datetime) -> bool:
    """Return whether one of them holds now."""
    return any(begin <= now < end for begin, end in spans)
