"""What a TLS handshake with a client must keep to."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """Of one host. `client_ca`, `client_crl`: the contents (PEM) of the files, so that another file is another policy.

    `client_auth`: what a client is asked for; with `optional` a certificate that it shows must verify all the same.
    """

    min_version: Literal["1.2", "1.3"] = "1.2"
    client_auth: Literal["none", "optional", "require"] = "none"
    client_ca: bytes = field(default=b"", repr=False)
    client_crl: bytes = field(default=b"", repr=False)
