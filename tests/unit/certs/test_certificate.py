"""Bytes that are nearly a certificate."""

import base64
import re
import ssl
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.certs.acceptance import is_unsigned
from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.key import key_from_pem, key_to_pem
from tests.support import fake_ca_authority as authority
from tests.support.damaged_certificates import FIELDS, flipped, negative, replaced, wrongly_signed

NOW = datetime(2027, 1, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
MIDDLE = authority.authority("Middle")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The library warns about what it will refuse one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def leaf() -> x509.Certificate:
    names = x509.SubjectAlternativeName([x509.DNSName("one.example"), x509.DNSName("two.example")])
    return authority.leaf(KEY.public_key(), names, MIDDLE, not_before=NOW, not_after=NOW + timedelta(days=90))


def judged(chain: bytes) -> list[str]:
    """Return what is said about a chain from a CA and about one from a file; empty where it can serve."""
    said = []
    readings = (partial(Certificate.assemble, KEY, chain), partial(Certificate.parse, key_to_pem(KEY) + chain))
    for read in readings:
        try:
            read()
        except InvalidCertificate as error:
            said.append(str(error))
    return said


def test_no_bit_of_a_certificate_raises_anything_else() -> None:
    middle = authority.pem(MIDDLE[0]).encode()
    der = ssl.PEM_cert_to_DER_cert(authority.pem(leaf()))
    said = [judged(ssl.DER_cert_to_PEM_cert(one).encode() + middle) for one in flipped(der)]
    assert any(not one for one in said)  # a signature is no field
    assert any(len(one) == 2 for one in said)


def test_no_wrong_bit_goes_unnoticed_beside_the_issuer() -> None:
    middle, good = authority.pem(MIDDLE[0]).encode(), leaf()
    der = ssl.PEM_cert_to_DER_cert(authority.pem(good))
    unused = der.index(good.signature) - 1  # how many bits of the last byte do not count: zeros, signed by nobody
    for one in (der, *flipped(der)):
        if one[unused] != 0:
            continue
        try:
            read = Certificate.parse(key_to_pem(KEY) + ssl.DER_cert_to_PEM_cert(one).encode() + middle)
        except InvalidCertificate:
            continue
        assert is_unsigned(read) is (one != der)


def test_without_the_issuer_nothing_is_said() -> None:
    other = authority.pem(authority.authority("Other")[0]).encode()
    damaged = wrongly_signed(authority.pem(leaf()).encode())
    assert not is_unsigned(Certificate.assemble(KEY, damaged))
    assert not is_unsigned(Certificate.assemble(KEY, damaged + other))


def test_one_of_two_issuers_of_the_same_name_is_enough() -> None:
    namesake = authority.authority("Middle")
    chain = authority.pem(leaf(), namesake[0], MIDDLE[0]).encode()
    assert not is_unsigned(Certificate.assemble(KEY, chain))
    assert is_unsigned(Certificate.assemble(KEY, authority.pem(leaf(), namesake[0]).encode()))


def test_no_bit_of_an_issuer_raises_anything_else() -> None:
    first = authority.pem(leaf()).encode()
    for one in flipped(ssl.PEM_cert_to_DER_cert(authority.pem(MIDDLE[0]))):
        chain = first + ssl.DER_cert_to_PEM_cert(one).encode()
        if not judged(chain):
            is_unsigned(Certificate.assemble(KEY, chain))


def test_no_bit_of_a_key_raises_anything_else() -> None:
    pem = key_to_pem(KEY)
    label, body = re.findall(rb"-----BEGIN (.+?)-----\n(.+?)-----END", pem, re.DOTALL)[0]
    for one in flipped(base64.b64decode(body)):
        block = b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(one), label)
        try:
            key_from_pem(block)
        except ValueError:
            continue


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_the_library_does_not_know(field: str) -> None:
    said = judged(replaced(authority.pem(leaf()).encode(), field))
    assert len(said) == 2
    assert "cannot be read" in said[0]


def test_a_negative_serial_number() -> None:
    one = leaf()
    said = judged(negative(authority.pem(one).encode(), one.serial_number))
    # Which error it is depends on the number, which is random: some are no number at all in DER.
    assert {one.partition(" (")[0] for one in said} == {"a certificate in it cannot be read"}
    assert len(said) == 2
