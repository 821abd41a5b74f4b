"""How many connections clients may have open at a time, on both ports together and from one address."""

import asyncio
import contextlib
import logging
from functools import lru_cache
from time import monotonic

from proxyd.core.client_network import network_of
from proxyd.core.counters import Counters, Place
from proxyd.core.networks import NOBODY
from proxyd.core.shared_counts import SharedCounts, alone

_log = logging.getLogger("proxyd.listener")
_TELL_AGAIN = 60.0
Cells = tuple[int, ...]


class Seats:
    """`most` in all, `most_each` of one client (0: no limit); an IPv6 client is a /64, in which it has any address.

    `crowds`: addresses behind which are many clients, as those of trusted proxies. `counts`: what all processes of the
    daemon have. Each counts itself before it looks: there are never too many, if two look at once perhaps one less.
    """

    def __init__(self, *, most: int, most_each: int, counters: Counters, counts: SharedCounts | None = None) -> None:
        self.most, self.most_each = most, most_each
        self._counters = counters
        self.crowds = NOBODY
        self.refused = 0
        #: The most that were taken in this process since somebody set it back.
        self.most_here = 0
        self._counts = counts or alone()
        self._empty: asyncio.Event | None = None
        self._told_at = float("-inf")
        #: One that comes again is not looked up again, and its connections share what they keep of it.
        self._cells_of = lru_cache(4096)(lambda client: self._counts.cells(network_of(client, ipv4=32, ipv6=64)))

    @property
    def here(self) -> int:
        """Return how many are taken in this process."""
        return sum(self._counters.accepted.values()) - sum(self._counters.closed.values())

    async def vacated(self, seconds: float) -> None:
        """Wait until all are free in this process, at most so long."""
        self._empty = asyncio.Event()
        if self.here:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()

    def take(self, place: Place) -> "Seat | None":
        """Return the seat of a new connection on that port, or None: there is none left."""
        self._counts.add_to_total(1)
        if self._counts.total > self.most:
            self._counts.add_to_total(-1)
            self._counters.hit("max_connections")
            self._tell("limits.max_connections", self.most)
            return None
        self._counters.accepted[place] += 1
        self.most_here = max(self.most_here, self.here)
        return Seat(self, place)

    def sit(self, client: str) -> Cells | None:
        """Count a connection of a client; return where, or None: it has too many."""
        if not self.most_each or self.crowds.has(client):
            return ()
        cells = self._cells_of(client)
        self._counts.add(cells, 1)
        if self._counts.count(cells) > self.most_each:
            self._counts.add(cells, -1)
            self._counters.hit("max_connections_per_ip")
            self._tell("limits.max_connections_per_ip", self.most_each, client)
            return None
        return cells

    def left(self, cells: Cells, place: Place) -> None:
        """Count a connection no longer."""
        self._counters.closed[place] += 1
        self._counts.add_to_total(-1)
        self._counts.add(cells, -1)
        if self._empty is not None and not self.here:
            self._empty.set()

    def _tell(self, limit: str, most: int, client: str | None = None) -> None:
        """Say so now and then: under attack it happens thousands of times a second."""
        self.refused += 1
        if (now := monotonic()) - self._told_at >= _TELL_AGAIN:
            self._told_at = now
            fields = {"limit": limit, "most": most, "client": client, "refused": self.refused}
            _log.warning("refused a connection: there are too many", extra=fields)


class Seat:
    """Of one connection, from its acceptance to its end."""

    __slots__ = ("_cells", "_place", "_seats")

    def __init__(self, seats: Seats, place: Place) -> None:
        self._seats: Seats | None = seats
        self._place: Place = place
        self._cells: Cells = ()

    def sit(self, client: str) -> bool:
        """Say whose it is; return whether that client may have one more."""
        cells = self._seats.sit(client) if self._seats is not None else ()
        if cells is None:
            return False
        self._cells = cells
        return True

    def leave(self) -> None:
        """Give it back; harmless when it was."""
        if self._seats is not None:
            self._seats.left(self._cells, self._place)
            self._seats = None
