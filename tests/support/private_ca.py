"""A CA of somebody's own, and TLS servers and clients with certificates of it."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.fake_ca_authority import Subject, authority, leaf, pem

_DAY = timedelta(days=1)


class PrivateCa:
    """`root`: the file to trust. `made`: the certificates, each with its key in one file."""

    def __init__(self, directory: Path, name: str = "Private CA") -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._name = name
        self._subject: Subject = authority(name)
        self.root = directory / f"{name}.pem"
        self.root.write_text(pem(self._subject[0]))

    def make(self, *names: str, begins: timedelta = -_DAY, lasts: timedelta = 90 * _DAY) -> Path:
        """Return a file with a key and a certificate for names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        begin = datetime.now(UTC) + begins
        alternatives = x509.SubjectAlternativeName([_general_name(one) for one in names])
        made = leaf(key.public_key(), alternatives, self._subject, not_before=begin, not_after=begin + lasts)
        file = self._directory / f"{self._name}-{made.serial_number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + pem(made).encode())
        return file

    def server(self, *names: str, client_ca: Path | None = None, **times: timedelta) -> ssl.SSLContext:
        """Return the context of a server; `client_ca`: clients must have a certificate of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.make(*names, **times))
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def pin_of(file: Path) -> str:
    """Return the pin of the key in a file."""
    key = serialization.load_pem_private_key(file.read_bytes().partition(b"-----BEGIN CERT")[0], None)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    return f"sha256:{digest.finalize().hex()}"


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
