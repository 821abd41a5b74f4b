"""How often a client may do what costs us more than it: some at once, and so many more a second."""

from collections.abc import Callable


class Allowance:
    """Of one connection. It looks at the clock only when it is used up: `now`, in seconds."""

    __slots__ = ("_at", "_burst", "_left", "_now", "_rate")

    def __init__(self, burst: float, rate: float, now: Callable[[], float]) -> None:
        self._left = self._burst = burst
        self._rate = rate
        self._now = now
        self._at = now()

    def take(self, amount: float = 1.0) -> bool:
        """Count so many, or part of one; False: there was none left."""
        self._left -= amount
        if self._left >= 0:
            return True
        now = self._now()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left >= 0
