"""A token bucket as a value: the form of every limit of Let's Encrypt."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` at once; each comes back after `period / count`."""

    count: int
    period: timedelta

    @property
    def refill(self) -> timedelta:
        return self.period / self.count


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """`full_at`: when the bucket is full again. An absent bucket is a full one."""

    full_at: datetime

    def has_room_at(self, limit: Limit) -> datetime:
        """Return from when on one token can be taken."""
        return self.full_at - limit.period + limit.refill

    def take(self, limit: Limit, now: datetime) -> "TokenBucket":
        """Return the bucket with one token less; never under empty, so that a wrong clock cannot starve us for ever."""
        return TokenBucket(min(max(self.full_at, now) + limit.refill, now + limit.period))

    def moved(self, old: Limit, new: Limit, now: datetime) -> "TokenBucket":
        """Return the bucket under another limit, with as many tokens missing; one that is closed opens no sooner."""
        if self.full_at > now + old.period:
            return TokenBucket(self.has_room_at(old) + new.period - new.refill)
        missing = (self.full_at - now) / old.refill
        return TokenBucket(now + min(missing * new.refill, new.period))

    def give_back(self, limit: Limit) -> "TokenBucket":
        """Return the bucket with one token more."""
        return TokenBucket(self.full_at - limit.refill)
