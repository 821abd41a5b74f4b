"""Certificates for tests, made in a millisecond."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def make_pem(
    *names: str,
    lifetime: timedelta = timedelta(days=90),
    begin: datetime | None = None,
    key_for_leaf: bool = True,
    rsa_key: bool = False,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """Return key and self-signed leaf (names or addresses) as a DirCache file; `key_for_leaf` false: not its key."""
    made = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    key_of_leaf = key or made
    shown = key_of_leaf if key_for_leaf else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
    now = (begin or datetime.now(UTC)).replace(microsecond=0)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .serial_number(x509.random_serial_number())
        .public_key(key_of_leaf.public_key())
        .not_valid_before(now)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(key_of_leaf, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return shown.private_bytes(
        pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ) + leaf.public_bytes(pem)


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
