"""How many requests a client may make (GCRA, a token bucket kept as one moment), for all processes together.

The table is in memory that they share: a fixed size, no lock. Two processes that write at the same moment may lose one
request between them; nothing worse can come of it.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from proxyd.core.client_network import network_of

#: A client's place is in one set of so many, chosen by its key; all of a set are read at once.
_WAYS: Final = 8
_SETS: Final = 1 << 16
_BYTES: Final = 8
#: Sums of moments are not exact: so much of a request earlier is early enough.
_EARLY: Final = 0.01
#: Places that are kept: of a client that comes again its address is not looked at again.
_REMEMBERED: Final = 16_384
#: What a charge may add to an empty bucket, in buckets: what was under way when it became empty.
_DEEPEST: Final = 16

#: Bytes of memory: 512 Ki clients of 16 bytes. What nobody used yet costs nothing.
SIZE: Final = 2 * _SETS * _WAYS * _BYTES


@dataclass(frozen=True, slots=True)
class Rate:
    """One request each `interval` seconds; `depth`: seconds that a full bucket is ahead, its burst."""

    interval: float
    depth: float

    @classmethod
    def of(cls, count: int, seconds: float, burst: int | None = None) -> "Rate":
        """Return `count` in `seconds`, and so many at once; None: `count`."""
        interval = seconds / count
        return cls(interval, interval * (count if burst is None else burst))


class Place(NamedTuple):
    """Where a client counts: the first of its set, and what tells it from the others there (never 0)."""

    start: int
    tag: int


class RateTable:
    """When the bucket of each client is full again. `memory` begins with zeros; `secret`: one for all processes.

    Nobody else can choose keys that share a set. In a full set who would be full again first is forgotten: a flood of
    sources with a request each pushes out one another, not who has used up its limit.
    """

    def __init__(self, memory: memoryview, *, secret: bytes) -> None:
        half = SIZE // 2
        self._tags = memory[:half].cast("Q")
        self._full_at = memory[half:SIZE].cast("d")
        self._secret = secret
        self.place = lru_cache(_REMEMBERED)(self._place)

    def take(self, place: Place, rate: Rate, now: float) -> float:
        """Take one; return 0, or in how many seconds there will be one. `now`: monotonic, the same for all."""
        start, tag = place
        tags = self._tags[start : start + _WAYS].tolist()
        if tag in tags:
            at = start + tags.index(tag)
            full_at = self._full_at[at]
            # One in the past is full, one emptier than empty is of another limit, before a reload.
            full_at = now if full_at < now else min(full_at, now + rate.depth)
            wait = full_at + rate.interval - rate.depth - now
            if wait > rate.interval * _EARLY:
                return wait
            self._full_at[at] = full_at + rate.interval
            return 0.0
        self._settle(place, now + rate.interval)
        return 0.0

    def wait(self, place: Place, rate: Rate, now: float) -> float:
        """Return in how many seconds there is one to take; 0: now. Takes none."""
        return max(0.0, self._known(place, now) + rate.interval - rate.depth - now)

    def charge(self, place: Place, rate: Rate, now: float) -> None:
        """Take one whether there is one or not: it is owed."""
        full_at = min(max(self._known(place, now), now), now + _DEEPEST * rate.depth) + rate.interval
        tags = self._tags[place.start : place.start + _WAYS].tolist()
        if place.tag in tags:
            self._full_at[place.start + tags.index(place.tag)] = full_at
        else:
            self._settle(place, full_at)

    def _place(self, about: str, client: str) -> Place:
        """Return where a client counts in what `about` names; one of IPv6 is a /64, in which it has any address."""
        key = f"{about} {network_of(client, ipv4=32, ipv6=64)}"
        digest = blake2b(key.encode(), key=self._secret, digest_size=16).digest()
        return Place(int.from_bytes(digest[:8]) % _SETS * _WAYS, int.from_bytes(digest[8:]) or 1)

    def _known(self, place: Place, now: float) -> float:
        tags = self._tags[place.start : place.start + _WAYS].tolist()
        return self._full_at[place.start + tags.index(place.tag)] if place.tag in tags else now

    def _settle(self, place: Place, full_at: float) -> None:
        """Put a client that is new there in the place of who is full again, or will be first."""
        start, tag = place
        moments = self._full_at[start : start + _WAYS].tolist()
        at = start + moments.index(min(moments))
        self._tags[at] = 0  # nobody's, while it changes
        self._full_at[at] = full_at
        self._tags[at] = tag
