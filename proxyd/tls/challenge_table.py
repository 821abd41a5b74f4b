"""TLS-ALPN-01 (RFC 8737): the certificates that prove control of a name to a validator, and to nobody else."""

import ssl
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.tls.context import load_pem, set_common

ALPN = "acme-tls/1"
_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_OCTET_STRING = b"\x04\x20"  # DER head of 32 bytes
_VALID = timedelta(days=1)


class ChallengeTable:
    """Pending names to contexts. `arrived` is told the name, the client's address and the token of each validator.

    `changed` hears of each change.
    """

    def __init__(self, *, clock: Clock, arrived: Callable[[Hostname, str, str], None]) -> None:
        self._clock = clock
        self._arrived = arrived
        self._contexts: dict[str, tuple[Hostname, str, ssl.SSLContext]] = {}
        self._pending: dict[Hostname, tuple[str, bytes]] = {}
        self.changed: Callable[[], None] = lambda: None

    def publish(self, name: Hostname, token: str, digest: bytes) -> None:
        """Answer validators of `name` from now on; `digest`: SHA-256 of the key authorization (RFC 8737 §3)."""
        self._contexts[_server_name(name)] = name, token, self._context(name, digest)
        self._pending[name] = token, digest
        self.changed()

    def withdraw(self, name: Hostname) -> None:
        """Stop answering; harmless when it never began."""
        self._contexts.pop(_server_name(name), None)
        self._pending.pop(name, None)
        self.changed()

    def only(self, pending: Mapping[Hostname, tuple[str, bytes]]) -> None:
        """Answer for these names from now on, and no other; each with its token and digest."""
        for name in self._pending.keys() - pending.keys():
            self.withdraw(name)
        for name, (token, digest) in pending.items():
            if self._pending.get(name) != (token, digest):
                self.publish(name, token, digest)

    def pending(self) -> Mapping[Hostname, tuple[str, bytes]]:
        """Return the token and digest of each name."""
        return self._pending

    def select(self, server_name: str | None, client: str) -> ssl.SSLContext | None:
        """Return what a validator that sent `server_name` is shown, or None: refuse it."""
        found = self._contexts.get((server_name or "").lower().removesuffix("."))
        if found is None:
            return None
        name, token, context = found
        self._arrived(name, client, token)
        return context

    def _context(self, name: Hostname, digest: bytes) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
        alternative = x509.IPAddress(ip_address(name.text)) if name.is_ip_address else x509.DNSName(name.text)
        now = self._clock.now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _VALID)
            .not_valid_after(now + _VALID)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ACME_IDENTIFIER, _OCTET_STRING + digest), critical=True)
            .sign(key, hashes.SHA256())
        )
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pem = key.private_bytes(serialization.Encoding.PEM, *form)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        set_common(context)
        context.set_alpn_protocols([ALPN])
        load_pem(context, pem + certificate.public_bytes(serialization.Encoding.PEM))
        return context


def _server_name(name: Hostname) -> str:
    """An address is asked for by its reverse name (RFC 8738 §6)."""
    return ip_address(name.text).reverse_pointer if name.is_ip_address else name.text
