"""A token bucket as a value: the form of every limit of Let's Encrypt."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

#: No limit is for longer; what was kept may be damaged.
_MOST_SECONDS = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` at once; each comes back after `period / count`."""

    count: int
    period: timedelta

    @property
    def refill(self) -> timedelta:
        return self.period / self.count

    def to_document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {"count": self.count, "seconds": self.period.total_seconds()}

    @classmethod
    def read(cls, document: object) -> "Limit | None":
        """Return the limit that `to_document` gave, or None."""
        fields = document if isinstance(document, Mapping) else {}
        count, seconds = fields.get("count"), fields.get("seconds")
        if type(count) is not int or not isinstance(seconds, int | float) or not 0 < seconds <= _MOST_SECONDS:
            return None
        return cls(count, timedelta(seconds=seconds)) if 0 < count <= seconds * 1e6 else None


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
        """Return the bucket under another limit, with as many missing; one emptier than empty opens no sooner."""
        if self.full_at > now + old.period:
            return TokenBucket(self.has_room_at(old) + new.period - new.refill)
        missing = (self.full_at - now) / old.refill
        return TokenBucket(now + min(missing * new.refill, new.period))

    def settled(self, limit: Limit, now: datetime, most: timedelta) -> "TokenBucket":
        """Return an empty bucket for one that is closed for longer than `most`: a wrong clock made it so."""
        return TokenBucket(now + limit.period) if self.full_at > now + limit.period + most else self

    def give_back(self, limit: Limit) -> "TokenBucket":
        """Return the bucket with one token more."""
        return TokenBucket(self.full_at - limit.refill)
