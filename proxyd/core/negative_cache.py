"""Names that were refused lately.

Times are seconds of a monotonic clock: no clock that is set may refuse a name for years.
"""

from collections import OrderedDict

from proxyd.core.hostname import Hostname

_NAMES = 10_000


class NegativeCache:
    """Names that were refused lately. Beyond its size the oldest are forgotten."""

    def __init__(self, size: int = _NAMES) -> None:
        self._size = size
        self._until: OrderedDict[Hostname, float] = OrderedDict()

    def put(self, host: Hostname, until: float) -> None:
        """Refuse `host` until then."""
        self._until[host] = until
        self._until.move_to_end(host)
        if len(self._until) > self._size:
            self._until.popitem(last=False)

    def __len__(self) -> int:
        return len(self._until)

    def holds(self, host: Hostname, now: float) -> bool:
        """Return whether `host` is refused now."""
        until = self._until.get(host)
        if until is not None and until <= now:
            del self._until[host]
            return False
        return until is not None
