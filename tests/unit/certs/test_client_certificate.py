"""What a certificate says of its owner."""

import hashlib
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.certs.certificate import InvalidCertificate
from proxyd.certs.client_certificate import identity_of

_NAMES = [
    x509.DNSName("alice.example.com"),
    x509.RFC822Name("alice@example.com"),
    x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])),
    x509.UniformResourceIdentifier("spiffe://example.com/alice"),
    x509.IPAddress(ip_address("::1")),
]


def test_what_it_says() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example, Inc"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "alice"),
            x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "alice@example.com"),
        ]
    )
    der = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")]))
        .serial_number(0x1F)
        .public_key(key.public_key())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName(_NAMES), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    found = identity_of(der)
    assert found.subject == r"emailAddress=alice@example.com,CN=alice,O=Example\, Inc"
    assert (found.issuer, found.serial, found.not_after) == ("CN=CA", "1f", "2030-01-02T03:04:05Z")
    assert found.fingerprint == hashlib.sha256(der).hexdigest()
    assert found.told("san") == (
        b"DNS:alice.example.com, email:alice@example.com, URI:spiffe://example.com/alice, IP:::1"
    )


def test_what_is_none() -> None:
    with pytest.raises(InvalidCertificate):
        identity_of(b"no certificate")
