"""How many connections clients may have open at a time, on both ports together and from one address."""

import logging
from collections import Counter
from time import monotonic

from proxyd.core.client_network import network_of
from proxyd.core.counters import Counters, Place
from proxyd.core.networks import NOBODY

_log = logging.getLogger("proxyd.listener")
_TELL_AGAIN = 60.0


class Seats:
    """`most` in all, `most_each` of one client (0: no limit); an IPv6 client is a /64, in which it has any address.

    `crowds`: addresses behind which are many clients, as those of trusted proxies.
    """

    def __init__(self, *, most: int, most_each: int, counters: Counters) -> None:
        self.most, self.most_each = most, most_each
        self._counters = counters
        self.crowds = NOBODY
        self.taken = 0
        self.refused = 0
        self._by_client: Counter[str] = Counter()
        self._told_at = float("-inf")

    def take(self, place: Place) -> "Seat | None":
        """Return the seat of a new connection on that port, or None: there is none left."""
        if self.taken >= self.most:
            self._counters.hit("max_connections")
            self._tell("limits.max_connections", self.most)
            return None
        self.taken += 1
        self._counters.accepted[place] += 1
        return Seat(self, place)

    def sit(self, client: str) -> str | None:
        """Count a connection of a client; return as whom, or None: it has too many."""
        if not self.most_each or self.crowds.has(client):
            return ""
        key = network_of(client, ipv4=32, ipv6=64)
        if self._by_client[key] >= self.most_each:
            self._counters.hit("max_connections_per_ip")
            self._tell("limits.max_connections_per_ip", self.most_each, client)
            return None
        self._by_client[key] += 1
        return key

    def left(self, key: str, place: Place) -> None:
        """Count a connection no longer."""
        self.taken -= 1
        self._counters.closed[place] += 1
        if key:
            self._by_client[key] -= 1
            if self._by_client[key] <= 0:
                del self._by_client[key]

    def _tell(self, limit: str, most: int, client: str | None = None) -> None:
        """Say so now and then: under attack it happens thousands of times a second."""
        self.refused += 1
        if (now := monotonic()) - self._told_at >= _TELL_AGAIN:
            self._told_at = now
            fields = {"limit": limit, "most": most, "client": client, "refused": self.refused}
            _log.warning("refused a connection: there are too many", extra=fields)


class Seat:
    """Of one connection, from its acceptance to its end."""

    __slots__ = ("_key", "_place", "_seats")

    def __init__(self, seats: Seats, place: Place) -> None:
        self._seats: Seats | None = seats
        self._place: Place = place
        self._key = ""

    def sit(self, client: str) -> bool:
        """Say whose it is; return whether that client may have one more."""
        key = self._seats.sit(client) if self._seats is not None else ""
        if key is None:
            return False
        self._key = key
        return True

    def leave(self) -> None:
        """Give it back; harmless when it was."""
        if self._seats is not None:
            self._seats.left(self._key, self._place)
            self._seats = None
