"""What a TLS handshake with a client must keep to."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """Of one host. `client_ca`, `client_crl`: the contents (PEM) of the files, so that another file is another policy.

    `client_auth`: what a client is asked for; with `optional` a certificate that it shows must verify all the same.
    """

    min_version: Literal["1.2", "1.3"] = "1.2"
    http2: bool = False
    client_auth: Literal["none", "optional", "require"] = "none"
    client_ca: bytes = field(default=b"", repr=False)
    client_crl: bytes = field(default=b"", repr=False)

    @property
    def protocols(self) -> tuple[bytes, ...]:
        """What a client may speak (ALPN, RFC 7301), the preferred one first."""
        return (b"h2", b"http/1.1") if self.http2 else (b"http/1.1",)

    @property
    def asks(self) -> bool:
        """Whether a handshake asks the client for a certificate."""
        return self.client_auth != "none" and bool(self.client_ca)

    @property
    def is_broken(self) -> bool:
        """Whether it is unknown whom to believe: a file is missing, and nobody may be served without the check."""
        return self.client_auth != "none" and not self.client_ca
