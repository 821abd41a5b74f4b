"""Which of many equal things are told: the first few of a minute; the others are counted."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

SECONDS = 60.0
_TOLD = 10
_MOST = 1000

T = TypeVar("T")


@dataclass(slots=True)
class _Minute(Generic[T]):
    ends: float
    told: int = 0
    held: int = 0
    last: T | None = None


class Repeats(Generic[T]):
    """Counts by kind and by what it is about. `now` is monotonic, in seconds.

    A thousand pairs are remembered, since what it is about may come from the network; others are counted by their kind,
    and when there are a thousand kinds of those, all together.
    """

    def __init__(self) -> None:
        self._minutes: dict[Hashable, _Minute[T]] = {}
        self._forget_at = 0.0

    def admits(self, kind: Hashable, about: Hashable, one: T, now: float) -> bool:
        """Return whether this one is told; else it is counted, and `due` tells how many were."""
        key = kind, about
        minute = self._minutes.get(key)
        if minute is None and len(self._minutes) >= _MOST:
            if now >= self._forget_at:  # not for each line of a flood
                self._forget_at = now + 1
                self._forget(now)
            if len(self._minutes) >= _MOST:
                key = kind, None
                if key not in self._minutes and len(self._minutes) >= 2 * _MOST:
                    key = None, None
                minute = self._minutes.get(key)
        if minute is None or (now >= minute.ends and not minute.held):
            minute = self._minutes[key] = _Minute(now + SECONDS)
        if minute.told < _TOLD:
            minute.told += 1
            return True
        minute.held, minute.last = minute.held + 1, one
        return False

    def due(self, now: float) -> list[tuple[T, int]]:
        """Return the last that was held back of each key whose minute is over, and how many were."""
        found = []
        for key, minute in [*self._minutes.items()]:
            if minute.last is not None and now >= minute.ends:
                found.append((minute.last, minute.held))
                # Who goes on gets no new handful at once: one line a minute says it.
                self._minutes[key] = _Minute(now + SECONDS, told=_TOLD)
        self._forget(now)
        return found

    def _forget(self, now: float) -> None:
        for key in [key for key, one in self._minutes.items() if now >= one.ends and not one.held]:
            del self._minutes[key]
