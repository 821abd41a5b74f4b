"""The signing half of the fake CA: a root, an intermediate, leaves for CSRs."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pebble.server import key_usage

_DAY = timedelta(days=1)
Subject = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def authority(text: str, signer: Subject | None = None, *, lasts: timedelta = 3650 * _DAY) -> Subject:
    """Return a CA certificate and its key, signed by `signer` or by itself; it began yesterday."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    issuer = signer[0].subject if signer else name(text)
    signing = signer[1] if signer else key
    built = (
        x509.CertificateBuilder()
        .subject_name(name(text))
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .not_valid_before(now - _DAY)
        .not_valid_after(now - _DAY + lasts)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return built, key


def leaf(
    public_key: Any,
    alternatives: x509.SubjectAlternativeName,
    signer: Subject,
    *,
    not_before: datetime,
    not_after: datetime,
) -> x509.Certificate:
    """Return an end-entity certificate."""
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer[0].subject)
        .serial_number(x509.random_serial_number())
        .public_key(public_key)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(alternatives, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer[1].public_key()), critical=False)
        .sign(signer[1], hashes.SHA256())
    )


def ari_id(certificate: x509.Certificate) -> str:
    """Return the certID (RFC 9773 §4.1)."""
    key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    serial = certificate.serial_number.to_bytes(certificate.serial_number.bit_length() // 8 + 1)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (key, serial))


def pem(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)
