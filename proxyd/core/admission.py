"""Who may cause a look at a name that nobody knows yet: bounded in memory and deterministic.

Times are seconds of a monotonic clock: no clock that is set may refuse a name for years.
"""

import ipaddress
import re
from collections import Counter, OrderedDict

from proxyd.core.hostname import Hostname

_NAMES = 10_000
_NETWORKS = 10_000
#: What one network may try: a busy office opens fewer new sites, a scanner tries thousands of names.
NEWCOMERS, NEWCOMERS_SECONDS = 20, 600.0
_WAITING, _WAITING_OF_NETWORK, _WAITING_OF_NAME = 512, 64, 128
#: A public CA takes no more labels (Let's Encrypt's boulder), and needs room for `_acme-challenge.`
_MAX_LABELS, _MAX_LENGTH = 10, 230
_LABEL = re.compile(r"[a-z0-9-]+\Z")


def may_be_certified(host: Hostname, *, public: bool) -> bool:
    """Return whether a CA, a public one with `public`, could take the name at all."""
    labels = host.text.split(".")
    return (
        not host.is_ip_address
        and len(labels) <= _MAX_LABELS
        and len(host.text) <= _MAX_LENGTH
        and all(_LABEL.match(label) for label in labels)
        and (host.is_public or not public)
    )


def network_of(client: str) -> str:
    """Return the network that counts as one client: /24, IPv6 /56."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 56), strict=False))


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


class WaitingRoom:
    """How many handshakes may wait: in all, of one network, for one name."""

    def __init__(self) -> None:
        self._all = 0
        self._of: Counter[str | Hostname] = Counter()

    def __len__(self) -> int:
        return self._all

    def enter(self, host: Hostname, network: str) -> bool:
        """Take a place, or return False: there is none."""
        if self._all >= _WAITING or self._of[network] >= _WAITING_OF_NETWORK or self._of[host] >= _WAITING_OF_NAME:
            return False
        self._all += 1
        self._of[host] += 1
        self._of[network] += 1
        return True

    def leave(self, host: Hostname, network: str) -> None:
        """Give the place back."""
        self._all -= 1
        for key in (host, network):
            self._of[key] -= 1
            if self._of[key] <= 0:
                del self._of[key]
