"""What a client's certificate means for a host: who is let in, and what the upstream is told of it."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxyd.certs.certificate import InvalidCertificate
from proxyd.certs.client_certificate import identity_of
from proxyd.core.client_identity import CertificateField, ClientIdentity
from proxyd.core.client_rule import ClientRule

#: A value that is longer is left out: servers take lines of 8 KiB, and some no more than 16 KiB in all.
_LONGEST = 8000


class Caller(NamedTuple):
    """The client at the other end of a connection: what the upstream is told (header lines), whether it may ask.

    `identity`: None: it showed no certificate, or one that cannot be read.
    """

    lines: bytes
    is_admitted: bool
    identity: ClientIdentity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAccess:
    """Of a host that asks for certificates. `headers`: fields of our naming; `rules`: any admits; none: all pass."""

    headers: tuple[tuple[str, CertificateField], ...] = ()
    rules: tuple[ClientRule, ...] = ()

    def caller(self, chain: Sequence[bytes]) -> Caller:
        """Return who has shown the certificates (DER, its own first) in a handshake that verified them."""
        if not chain:
            return Caller(b"", not self.rules)
        told = b"\r\nClient-Cert: " + _item(chain[0])
        others = b", ".join(_item(one) for one in chain[1:])
        if others and len(others) <= _LONGEST:
            told += b"\r\nClient-Cert-Chain: " + others
        try:
            identity = identity_of(chain[0])
        except InvalidCertificate:
            return Caller(told, not self.rules)
        for name, field in self.headers:
            value = identity.told(field)
            if value and len(value) <= _LONGEST:
                told += b"\r\n%b: %b" % (name.encode(), value)
        return Caller(told, not self.rules or any(one.admits(identity) for one in self.rules), identity)


def _item(der: bytes) -> bytes:
    """Return a byte sequence of structured fields (RFC 9440 §2.1, RFC 8941 §3.3.5)."""
    return b":%b:" % b64encode(der)
