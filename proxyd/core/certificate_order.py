"""What is asked of a CA."""

from dataclasses import dataclass
from datetime import datetime

from proxyd.core.hostname import Hostname


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateOrder:
    """One certificate to be ordered.

    `replaces` is the certID of the one it renews (RFC 9773 §5), `account` the URL of who ordered that, when known.
    """

    host: Hostname
    names: tuple[Hostname, ...]
    key_kind: str
    replaces: str | None = None
    account: str | None = None
    is_renewal: bool = False  # the same names had a certificate of this CA
    is_in_window: bool = False  # of the CA, for the certificate that it replaces
    follows: datetime | None = None  # when what serves begins: of the cache, who begins last is loaded

    @property
    def is_exempt(self) -> bool:
        """Whether the CA counts it against no limit: a renewal by ARI, inside the window (Let's Encrypt's rule)."""
        return self.replaces is not None and self.is_in_window
