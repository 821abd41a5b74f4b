"""What the fleet wants done: an order, or a question for the renewal window."""

from dataclasses import dataclass

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.lineage import Lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTask:
    """Order this certificate of this CA, trying the first challenge type that the CA offers.

    `resumed`: go on with the order that was interrupted; the CA and the ledger have counted it already.
    """

    lineage: Lineage
    issuer: str
    order: CertificateOrder
    challenges: tuple[str, ...]
    forced: bool = False
    resumed: bool = False
    fingerprint: str = ""  # of the plan that it was begun under
    asked_as: str | None = None  # what decided about the account then


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTask:
    """Ask the CA for the renewal window of the serving certificate."""

    lineage: Lineage
    issuer: str
    cert_id: str


Task = OrderTask | WindowTask
