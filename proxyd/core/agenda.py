"""Due times in one heap: the next one is found without a look at every member of the fleet."""

import heapq
from datetime import datetime

from proxyd.core.lineage import Lineage

_ROOM = 64


class Agenda:
    """One due time for each lineage; a new one replaces the old one."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Lineage]] = []
        self._current: dict[Lineage, int] = {}
        self._entries = 0

    def put(self, lineage: Lineage, at: datetime | None) -> None:
        """Set when the lineage is due; None: not before it is put again."""
        self._entries += 1
        if at is None:
            self._current.pop(lineage, None)
        else:
            self._current[lineage] = self._entries
            heapq.heappush(self._heap, (at, self._entries, lineage))
        if len(self._heap) > 2 * len(self._current) + _ROOM:  # what was replaced would lie there until it is due
            self._heap = [one for one in self._heap if self._current.get(one[2]) == one[1]]
            heapq.heapify(self._heap)

    def next_at(self) -> datetime | None:
        """Return the earliest due time."""
        while self._heap:
            at, entry, lineage = self._heap[0]
            if self._current.get(lineage) == entry:
                return at
            heapq.heappop(self._heap)  # replaced since
        return None

    def take(self, now: datetime) -> Lineage | None:
        """Take out the lineage that has been due longest, or None when none is due."""
        at = self.next_at()
        if at is None or at > now:
            return None
        _, _, lineage = heapq.heappop(self._heap)
        del self._current[lineage]
        return lineage
