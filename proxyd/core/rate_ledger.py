"""The CA's limits, mirrored: an order that would be refused is never sent."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.hostname import Hostname
from proxyd.core.moment import read_moment
from proxyd.core.token_bucket import Limit, TokenBucket

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_ACCOUNT = "account"
#: Beside the buckets: until when the CA says no to one of them. Of what it allows in all that says nothing.
_NO = "no"
#: The CA counts a certificate when it is issued, not when it was ordered: so much later, mostly.
_ORDER_TAKES = timedelta(minutes=1)
#: So long at most the CA's word that it takes no orders is believed.
_MOST_REFUSED = 7 * _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class CaLimits:
    """What one CA allows an account."""

    orders: Limit
    certificates_per_domain: Limit
    duplicates: Limit
    failures: Limit
    accounts: Limit

    @property
    def by_kind(self) -> dict[str, Limit]:
        return {
            "orders": self.orders,
            "domain": self.certificates_per_domain,
            "duplicates": self.duplicates,
            "failures": self.failures,
            "accounts": self.accounts,
        }


#: docs/rate-limits of 2026-08-05.
LETS_ENCRYPT = CaLimits(
    orders=Limit(300, 3 * _HOUR),
    certificates_per_domain=Limit(50, 7 * _DAY),
    duplicates=Limit(5, 7 * _DAY),
    failures=Limit(5, _HOUR),
    accounts=Limit(10, 3 * _HOUR),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an order is not sent, and from when on it may be."""

    limit: str
    until: datetime

    def __str__(self) -> str:
        return f"the CA allows no more for now ({self.limit}): again from {self.until:%Y-%m-%d %H:%M} UTC"


class RateLedger:
    """The buckets of one account at one CA. Deterministic: time is a parameter.

    `registered_domain` maps a name to the domain whose owner registered it (public suffix list).
    """

    def __init__(self, limits: CaLimits, *, registered_domain: Callable[[Hostname], str]) -> None:
        self.limits = limits
        self._by_kind = limits.by_kind
        self._registered_domain = registered_domain
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._changed: set[tuple[str, str]] = set()

    def allow(self, limits: CaLimits, now: datetime) -> None:
        """Hold to other limits from now on: what was spent stays spent, and a no of the CA its no."""
        for key, bucket in [*self._buckets.items()]:
            if key[0] != _NO and bucket.full_at > now:
                self._move(key, bucket, self._by_kind[key[0]], limits.by_kind[key[0]], now)
        self._changed.update(self._buckets)  # while no limits held it may all have been swept away
        self.limits, self._by_kind = limits, limits.by_kind

    def refusal(self, order: CertificateOrder, now: datetime) -> Refusal | None:
        """Return which limit would refuse the order now, the one that lasts longest, or None."""
        found: Refusal | None = None
        for key, limit, why in self._needed(order):
            at = self._opens_at(key, limit)
            if at is not None and at > now and (found is None or at > found.until):
                found = Refusal(limit=why, until=at)
        return found

    def spend(self, order: CertificateOrder, now: datetime) -> None:
        """Count an order that is sent now, as if it gave a certificate."""
        for key, limit, _ in self._needed(order):
            if key[0] in ("domain", "duplicates"):
                self._take(key, limit, now + _ORDER_TAKES)
            elif key[0] != "failures":
                self._take(key, limit, now)

    def failed(self, order: CertificateOrder, now: datetime, *, validation: bool) -> None:
        """Give back what only a certificate costs; count a failed validation."""
        for key, limit, _ in self._needed(order):
            if key[0] in ("domain", "duplicates") and key in self._buckets:
                given_back = self._buckets[key].give_back(limit)
                if given_back.full_at > now + _ORDER_TAKES:
                    self._put(key, given_back)
                else:  # nothing is spent: by a right clock a moment of a wrong one would look like all of it
                    del self._buckets[key]
                    self._changed.add(key)
        if validation:
            for name in order.names:
                self._take(("failures", name.text), self.limits.failures, now)

    def not_sent(self, order: CertificateOrder) -> None:
        """Give back what an order took that was not sent after all."""
        for key, limit, _ in self._needed(order):
            if key[0] != "failures" and key in self._buckets:
                self._put(key, self._buckets[key].give_back(limit))

    def refused(self, order: CertificateOrder, kind: str, until: datetime, *, of: Collection[str] = ()) -> None:
        """Believe the CA when it says no although we thought there was room: all whom it concerns wait until then.

        `of`: the names and domains that it named, if any; the others of the order have room.
        """
        needed = self._needed(replace(order, replaces=None, is_renewal=False))
        concerned = [(key, limit) for key, limit, _ in needed if key[0] == kind]
        for key, limit in [one for one in concerned if one[0][1] in of] or concerned:
            empty_until = until + limit.period - limit.refill
            known = self._buckets.get(key)
            self._put(key, TokenBucket(max(known.full_at, empty_until) if known else empty_until))
            no = self._buckets.get(_no(key))
            self._put(_no(key), TokenBucket(max(no.full_at, until) if no else until))

    def new_account(self, now: datetime) -> Refusal | None:
        """Count an account that is made now, or say that it has to wait."""
        key, limit = ("accounts", _ACCOUNT), self.limits.accounts
        bucket = self._buckets.get(key)
        if bucket and (at := bucket.has_room_at(limit)) > now:
            return Refusal(limit=f"{limit.count} new accounts in {_hours(limit)}", until=at)
        self._take(key, limit, now)
        return None

    def assume_unknown_history(self, now: datetime) -> None:
        """Begin with half of the orders: what was spent before is not known."""
        half = now + self.limits.orders.period / 2
        known = self._buckets.get(("orders", _ACCOUNT))
        self._put(("orders", _ACCOUNT), TokenBucket(max(known.full_at, half) if known else half))

    @property
    def pace(self) -> timedelta:
        """Return how long it takes until one more order is allowed."""
        return self.limits.orders.refill

    @property
    def next_order_at(self) -> datetime | None:
        """Return from when on one more order is allowed; None: there is no sign that any was sent."""
        return self._opens_at(("orders", _ACCOUNT), self.limits.orders)

    def available(self, now: datetime) -> dict[str, int]:
        """Return for people how many orders are left now."""
        limit = self.limits.orders
        bucket = self._buckets.get(("orders", _ACCOUNT))
        used = 0 if bucket is None else max(timedelta(0), bucket.full_at - now) / limit.refill
        return {"orders_left": int(limit.count - used), "orders_limit": limit.count}

    def to_document(self, now: datetime) -> dict[str, str]:
        """Return the buckets that are not full, as JSON values."""
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.full_at > now}
        return {" ".join(key): bucket.full_at.isoformat() for key, bucket in self._buckets.items()}

    def changes(self, now: datetime, *, stay: bool = False) -> dict[str, str | None]:
        """Return what of the document is another than at the last call; None: no longer in it.

        `stay`: the next call returns it too.
        """
        found = {key: self._buckets.get(key) for key in self._changed}
        if not stay:
            self._changed = set()
        return {
            " ".join(key): bucket.full_at.isoformat() if bucket and bucket.full_at > now else None
            for key, bucket in found.items()
        }

    def read_document(self, document: Mapping[str, object], now: datetime, limits: object = None) -> None:
        """Take over what `to_document` gave, when `limits` (`limits_document`) held. Broken parts are skipped."""
        before = limits if isinstance(limits, Mapping) else {}
        for text, value in document.items():
            kind, _, name = text.partition(" ")
            if not (at := read_moment(value)) or at <= now:
                continue
            self._buckets[kind, name] = bucket = TokenBucket(at)
            old, new = Limit.read(before.get(kind)), self._by_kind.get(kind)
            if old and new and old != new:
                self._move((kind, name), bucket.settled(old, now, _MOST_REFUSED), old, new, now)
        self.settle(now)

    def limits_document(self) -> dict[str, object]:
        """Return the limits by which the moments of `to_document` are to be read, as JSON values."""
        return {kind: limit.to_document() for kind, limit in self._by_kind.items()}

    def settle(self, now: datetime) -> None:
        """Let no bucket be emptier than empty: only a wrong clock, or the CA's own word for a week, can make it so."""
        for key, bucket in [*self._buckets.items()]:
            limit, is_long = self._by_kind.get(key[0]), bucket.full_at > now + _MOST_REFUSED + _DAY
            if limit is None and (key[0] != _NO or is_long):
                del self._buckets[key]
                self._changed.add(key)
            elif limit is not None and (settled := bucket.settled(limit, now, _MOST_REFUSED)) != bucket:
                self._put(key, settled)

    def _take(self, key: tuple[str, str], limit: Limit, now: datetime) -> None:
        self._put(key, self._buckets.get(key, TokenBucket(now)).take(limit, now))

    def _move(self, key: tuple[str, str], bucket: TokenBucket, old: Limit, new: Limit, now: datetime) -> None:
        if old != new:
            self._put(key, bucket.moved(old, new, now))

    def _opens_at(self, key: tuple[str, str], limit: Limit) -> datetime | None:
        bucket, no = self._buckets.get(key), self._buckets.get(_no(key))
        times = [*([bucket.has_room_at(limit)] if bucket else []), *([no.full_at] if no else [])]
        return max(times, default=None)

    def _put(self, key: tuple[str, str], bucket: TokenBucket) -> None:
        self._buckets[key] = bucket
        self._changed.add(key)

    def _needed(self, order: CertificateOrder) -> Iterator[tuple[tuple[str, str], Limit, str]]:
        """Yield the buckets that the order takes from. Renewals by ARI are exempt from all (RFC 9773, rate-limits)."""
        if order.is_exempt:
            return
        limits = self.limits
        for name in order.names:
            limit = limits.failures
            yield ("failures", name.text), limit, f"{limit.count} failed validations of {name} in {_hours(limit)}"
        limit = limits.duplicates
        text = f"{limit.count} certificates for the same names in {_hours(limit)}"
        yield ("duplicates", ",".join(sorted(name.text for name in order.names))), limit, text
        if order.is_renewal:  # exempt from the next two only
            return
        limit = limits.orders
        yield ("orders", _ACCOUNT), limit, f"{limit.count} orders in {_hours(limit)}"
        limit = limits.certificates_per_domain
        for domain in sorted({self._registered_domain(name) for name in order.names}):
            text = f"{limit.count} certificates for {domain} and names under it in {_hours(limit)}"
            yield ("domain", domain), limit, text


def _no(key: tuple[str, str]) -> tuple[str, str]:
    return _NO, " ".join(key)


def _hours(limit: Limit) -> str:
    hours = round(limit.period / _HOUR)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} h"
