"""When orders could be sent that a CA's limits let through one after the other."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from proxyd.core.authority import Authority
from proxyd.core.certificate_order import CertificateOrder

#: One limit after the other may put an order off.
_LIMITS = 10


def forecast(
    orders: Iterable[tuple[str, CertificateOrder]], authorities: Mapping[str, Authority], now: datetime
) -> list[datetime]:
    """Return when each order (with the name of its CA) may be sent at the earliest.

    Spends from the ledgers: give it authorities that nobody else uses.
    """
    return [_next(order, authorities.get(issuer), now) for issuer, order in orders]


def _next(order: CertificateOrder, authority: Authority | None, now: datetime) -> datetime:
    if authority is None or authority.ledger is None:
        return now
    at = now
    for _ in range(_LIMITS):
        refusal = authority.ledger.refusal(order, at)
        if refusal is None:
            break
        at = max(refusal.until, at + timedelta(seconds=1))
    authority.ledger.spend(order, at)
    return at
