"""How often one network may try a name that nobody knows."""

from collections import OrderedDict

_NETWORKS = 10_000
#: A busy office opens fewer new sites, a scanner tries thousands of names.
NEWCOMERS, NEWCOMERS_SECONDS = 20, 600.0


class Throttle:
    """How often each network may try: `count` at once, each comes back after `seconds / count`."""

    def __init__(self, count: int = NEWCOMERS, seconds: float = NEWCOMERS_SECONDS, size: int = _NETWORKS) -> None:
        self._refill = seconds / count
        self._period = seconds
        self._size = size
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, network: str, now: float) -> bool:
        """Count one try, or return False: it has none left."""
        full_at = max(self._full_at.get(network, now), now)
        if full_at + self._refill > now + self._period:
            return False
        self._full_at[network] = full_at + self._refill
        self._full_at.move_to_end(network)
        if len(self._full_at) > self._size:
            self._full_at.popitem(last=False)
        return True
