"""A CA for the clients of a host: their certificates, good ones and all kinds of bad ones, and its revocation list."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from pebble.server import key_usage
from tests.support.fake_ca_authority import Subject, name, pem

_DAY = timedelta(days=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ClientCa:
    """`file`: what to trust, the root alone. `chain`: the authorities that sign, the last one signs clients."""

    def __init__(
        self, directory: Path, text: str = "Client CA", *, between: int = 0, allowed: int | None = None
    ) -> None:
        self._directory = directory
        self._text = text
        chain = [_authority(text, None, allowed)]
        for number in range(between):
            chain.append(_authority(f"{text} {number + 1}", chain[-1], None))
        self.chain: Sequence[Subject] = chain
        self.file = self.trusted(0)

    def trusted(self, *places: int, after: str = "") -> Path:
        """Return a file with the certificates of some of the authorities."""
        file = self._directory / f"{self._text}-trusted-{'-'.join(map(str, places))}.pem"
        file.write_text(pem(*(self.chain[place][0] for place in places)) + after)
        return file

    def client(
        self,
        subject: str = "alice",
        *,
        begins: timedelta = -_DAY,
        lasts: timedelta = 90 * _DAY,
        usage: x509.ObjectIdentifier | None = CLIENT,
        shows: bool = True,
    ) -> Path:
        """Return a file with a key, the certificate of a client, and (`shows`) the authorities below the root."""
        key = ec.generate_private_key(ec.SECP256R1())
        begin = datetime.now(UTC) + begins
        signer, signing = self.chain[-1]
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(signer.subject)
            .serial_number(x509.random_serial_number())
            .public_key(key.public_key())
            .not_valid_before(begin)
            .not_valid_after(begin + lasts)
            .add_extension(key_usage(ca=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        made = builder.sign(signing, hashes.SHA256())
        file = self._directory / f"{self._text}-{subject}-{made.serial_number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        above = [one for one, _ in reversed(self.chain[1:])] if shows else []
        file.write_text(private.decode() + pem(made, *above))
        return file

    def revoke(self, *clients: Path, until: timedelta = _DAY, into: Path | None = None) -> Path:
        """Return the revocation list of who signs clients."""
        signer, signing = self.chain[-1]
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(signer.subject)
            .last_update(now - 2 * _DAY)
            .next_update(now + until)
        )
        for one in clients:
            serial = x509.load_pem_x509_certificate(leaf_of(one)).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _DAY).build()
            builder = builder.add_revoked_certificate(revoked)
        file = into or self._directory / f"{self._text}.crl.pem"
        file.write_bytes(builder.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return file


def leaf_of(file: Path) -> bytes:
    """Return the first certificate (PEM) in a file."""
    content = file.read_bytes()
    begin = content.index(b"-----BEGIN CERT")
    return content[begin : content.index(b"-----END CERT", begin) + 26]


def der_of(file: Path) -> bytes:
    """Return the same certificate as the wire has it."""
    return x509.load_pem_x509_certificate(leaf_of(file)).public_bytes(serialization.Encoding.DER)


def client_context(version: str, certificate: Path | None = None) -> ssl.SSLContext:
    """Return a client of one version of TLS that takes any server, with a certificate of its own or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


def _authority(text: str, signer: Subject | None, allowed: int | None) -> Subject:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    signing = signer[1] if signer else key
    built = (
        x509.CertificateBuilder()
        .subject_name(name(text))
        .issuer_name(signer[0].subject if signer else name(text))
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .not_valid_before(now - 30 * _DAY)
        .not_valid_after(now + 3650 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=allowed), critical=True)
        .add_extension(key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return built, key
