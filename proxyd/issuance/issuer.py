"""One CA, whatever it speaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from proxyd.certs.certificate import Certificate
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import IssuanceError
from proxyd.core.renewal import RenewalWindow
from proxyd.store.pending_orders import PendingOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """A new certificate, and the challenge type that proved the names (None: the CA remembered a proof).

    `account` is the URL of who ordered it.
    """

    certificate: Certificate
    challenge: str | None
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowAnswer:
    """The CA's window for a certificate, None when it makes no sense, and when it wants to be asked again."""

    window: RenewalWindow | None
    retry_after: timedelta | None


class ReplacesRefused(IssuanceError):
    """The order is not taken in the place of that certificate (RFC 9773 §5); it may be without `replaces`."""


class Issuer(Protocol):
    """Gives certificates. Never retries a failed order: the renewer decides when to ask again."""

    @property
    def name(self) -> str:
        """Return the CA's name for logs and status."""
        ...

    async def issue(self, order: CertificateOrder, challenges: Sequence[str]) -> Issuance:
        """Return a new certificate with a fresh key, the names proved by the first challenge type on offer.

        The order and its key are kept (PendingOrders) until the caller forgets them: it has the certificate safe then.
        Raises UnfinishedOrder when the order can go on later, ReplacesRefused when none was placed, else IssuanceError,
        classified; ends within its deadline.
        """
        ...

    async def resume(
        self, order: CertificateOrder, pending: PendingOrder, challenges: Sequence[str]
    ) -> Issuance | None:
        """Go on with an order that was interrupted; None: nothing can come of it any more, and it is forgotten.

        Raises IssuanceError as `issue` does.
        """
        ...

    async def abandon(self, pending: PendingOrder) -> None:
        """Leave nothing pending at the CA of an order that nobody wants any more, and forget it. Never raises."""
        ...

    async def has_windows(self) -> bool:
        """Return whether the CA tells renewal windows (RFC 9773). Raises IssuanceError."""
        ...

    async def renewal_window(self, cert_id: str) -> WindowAnswer:
        """Return when the CA wants the certificate replaced. Raises IssuanceError."""
        ...

    async def revoke(self, certificate: Certificate, reason: int) -> None:
        """Revoke (RFC 8555 §7.6; reasons: RFC 5280 §5.3.1); harmless when it is already. Raises IssuanceError."""
        ...
