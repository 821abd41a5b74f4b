"""What is wrong with a certificate, in words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxyd.certs.inspection import Inspection, kind_of
from proxyd.certs.system_roots import SystemRoots
from proxyd.core.hostname import Hostname
from tests.support.certs import make_pem
from tests.support.fake_ca_authority import name
from tests.support.own_files import TestCa

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
CA = TestCa()
(MIDDLE,) = x509.load_pem_x509_certificates(CA.intermediate)
ONE = CA.issue("a.example.test", "*.b.example.test")


def inspected(*certificates: x509.Certificate, now: datetime = NOW, **more: Any) -> Inspection:
    given: dict[str, Any] = {"key": None, "asked": None, "roots": SystemRoots(), "now": now, **more}
    return Inspection.of(certificates, **given)


def wrong(*certificates: x509.Certificate, **more: Any) -> str:
    (found,) = inspected(*certificates, **more).wrong
    return found


def test_a_good_one() -> None:
    found = inspected(ONE.certificate, MIDDLE, key=ONE.private, asked=Hostname("x.b.example.test"))
    assert (found.wrong, found.remarks) == ((), ())
    facts = dict(found.facts)
    assert facts["names"] == "a.example.test, *.b.example.test"
    assert facts["issuer"] == "CN=Test Intermediate"
    assert facts["valid"].endswith("(expires in 88 d)") or facts["valid"].endswith("(expires in 89 d)")
    assert facts["key"] == "EC, P-256"
    assert facts["serial"] == ONE.serial
    assert facts["key file"] == "belongs to the certificate"
    assert facts["chain"].startswith("complete: CN=Test Intermediate, signed by CN=Test Root, whose CA this machine")
    assert found.document["fingerprint"] == f"sha256:{ONE.certificate.fingerprint(hashes.SHA256()).hex()}"
    assert found.document["chain"] == ["CN=a.example.test", "CN=Test Intermediate"]


def test_what_clients_refuse() -> None:
    assert wrong(ONE.certificate, MIDDLE, asked=Hostname("c.example.test")).startswith("it is not for c.example.test")
    assert wrong(ONE.certificate).startswith("leaf only: Go clients will fail with unknown authority")
    assert "in a wrong order" in wrong(MIDDLE, ONE.certificate)
    assert wrong(ONE.certificate, MIDDLE, now=NOW + 93 * DAY).startswith("it expired ")
    assert wrong(ONE.certificate, MIDDLE, now=NOW - 10 * DAY).startswith("it is not valid yet")
    other = ec.generate_private_key(ec.SECP256R1())
    assert wrong(ONE.certificate, MIDDLE, key=other).startswith("the key does not belong to the certificate")


def made(key: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
    """Return one that signed itself."""
    built = (
        x509.CertificateBuilder()
        .subject_name(name("a.test"))
        .issuer_name(name("a.test"))
        .serial_number(1000)
        .public_key(key.public_key())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 90 * DAY)
    )
    for one in extensions:
        built = built.add_extension(one, critical=False)
    return built.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("extension", "says"),
    [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), "it is not for servers (extended key usage)"),
        (x509.TLSFeature([x509.TLSFeatureType.status_request]), "it wants a stapled OCSP answer (must-staple)"),
    ],
)
def test_what_it_asks_for_and_nobody_gives(extension: x509.ExtensionType, says: str) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("a.test")])
    assert wrong(made(ONE.private, names, extension)).startswith(says)


def test_an_intermediate_that_is_over() -> None:
    old = TestCa("Old", lasts=DAY / 2)
    one = old.issue("a.example.test")
    (middle,) = x509.load_pem_x509_certificates(old.intermediate)
    found = wrong(one.certificate, middle)
    assert found.startswith("the certificate of CN=Old Intermediate expired at ")
    assert found.endswith(": put its successor into the chain")


def test_weak_ones() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    names = x509.SubjectAlternativeName([x509.DNSName("a.test")])
    assert "an RSA key of 1024 bits: clients want 2048" in wrong(made(weak, names))
    assert kind_of(weak.public_key()) == "RSA, 1024 bits"
    assert wrong(made(ONE.private)).startswith("it has no subject alternative name")


def test_what_is_worth_a_look() -> None:
    (own,) = x509.load_pem_x509_certificates(make_pem("a.example.test", lifetime=1000 * DAY))
    assert [one.partition(":")[0] for one in inspected(own).remarks] == [
        "it is self-signed",
        "it is valid for 1000 days",
    ]
    (ending,) = inspected(ONE.certificate, MIDDLE, now=NOW + 80 * DAY).remarks
    assert ending.startswith("it expires in ")
    (stranger,) = x509.load_pem_x509_certificates(TestCa("Other").root)
    assert inspected(ONE.certificate, MIDDLE, stranger).remarks == ("not a part of the chain: CN=Other Root",)
    assert inspected(MIDDLE).remarks == ("it is a CA's, not a server's",)
