"""Our own ceiling under the CA's limits: whatever a bug elsewhere asks for, it cannot burn a week's allowance."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.clock_watch import TOLERANCE
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.renewal import Validity, ending_from

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_SHORT_LIFE = timedelta(days=6)
#: No CA gives certificates to be renewed more often than this, but a broken one.
_SHORTEST = timedelta(minutes=1)


def ceiling(
    order: CertificateOrder,
    history: Iterable[datetime],
    *,
    now: datetime,
    validity: Validity | None = None,
    in_vain: bool = False,
) -> tuple[Failure, datetime] | None:
    """Return why the order may not be sent now and from when on it may, or None.

    In the last tenth of `validity`, of what serves, nothing is in its way; or, `in_vain`, because the last certificate
    was of no use and the next may be like it, those of the last day: who waited out a week would serve nothing.
    """
    issued, lifetime = [*history], validity.lifetime if validity else None
    until = closed_until(issued, exempt=order.replaces is not None, now=now, lifetime=lifetime)
    if until is not None and validity:
        today = _open_at(issued, [(_a_day(lifetime), _DAY)], now) if in_vain else None
        until = min(until, max(ending_from(validity), today or now))
    if until is None or until <= now:
        return None
    message = (
        f"{order.host}: enough certificates were ordered for these names lately; the next order is allowed at "
        f"{until:%Y-%m-%d %H:%M} UTC (proxyd renew --force {order.host} goes past this)"
    )
    return Failure(kind=FailureKind.RATE_LIMITED, message=message, retry_at=until, is_ceiling=True), until


def closed_until(
    history: Iterable[datetime], *, exempt: bool, now: datetime, lifetime: timedelta | None = None
) -> datetime | None:
    """Return until when no further certificate may be ordered, or None.

    `history` are the moments at which certificates for the same names, key kind and CA were issued.
    At most 2 in 24 h and 4 in 7 days; renewals by ARI 6 in 7 days; for lives under six days twice what the renewal rule
    calls for, plus 2. `ceiling` lets an expiring certificate (its last tenth) pass, its callers `renew --force`.
    """
    return _open_at([*history], _ceilings(exempt, lifetime), now)


def _open_at(issued: list[datetime], ceilings: list[tuple[int, timedelta]], now: datetime) -> datetime | None:
    until: datetime | None = None
    for count, period in ceilings:
        recent = sorted(at for at in issued if now - period < at <= now + TOLERANCE)
        if len(recent) >= count:
            again = recent[-count] + period
            until = again if until is None else max(until, again)
    return until


def _ceilings(exempt: bool, lifetime: timedelta | None) -> list[tuple[int, timedelta]]:
    if lifetime is not None and lifetime < _SHORT_LIFE:
        return [(_a_day(lifetime), _DAY), (_twice(_WEEK, lifetime), _WEEK)]
    return [(6, _WEEK)] if exempt else [(_a_day(lifetime), _DAY), (4, _WEEK)]


def _a_day(lifetime: timedelta | None) -> int:
    return _twice(_DAY, lifetime) if lifetime is not None and lifetime < _SHORT_LIFE else 2


def _twice(period: timedelta, lifetime: timedelta) -> int:
    """The rule renews at half of such a life."""
    return 2 * int(period / max(lifetime / 2, _SHORTEST)) + 2
