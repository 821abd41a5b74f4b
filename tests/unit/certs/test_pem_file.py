"""What lies in a file, by its name: PEM, DER, or what people mistake for them."""

import contextlib
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st

from proxyd.certs.certificate import InvalidCertificate
from proxyd.certs.pem_file import PemFile
from tests.support.fake_ca_authority import name
from tests.support.own_files import TestCa

ONE = TestCa().issue("a.example.test")
_DER, _PEM = serialization.Encoding.DER, serialization.Encoding.PEM
_PKCS8, _PLAIN = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


def why(content: bytes) -> str:
    with pytest.raises(InvalidCertificate) as caught:
        PemFile.parse(content)
    return str(caught.value)


def test_pem_with_all_that_it_may_have() -> None:
    found = PemFile.parse(b"a comment\n" + ONE.key + ONE.chain)
    assert found.certificates[0] == ONE.certificate
    assert len(found.certificates) == 2
    assert found.key is not None
    assert not found.is_der
    request = x509.CertificateSigningRequestBuilder().subject_name(name("a")).sign(ONE.private, hashes.SHA256())
    assert PemFile.parse(request.public_bytes(_PEM)).is_request
    assert PemFile.parse(request.public_bytes(_DER)).is_request


def test_der() -> None:
    found = PemFile.parse(ONE.der)
    assert found.is_der
    assert found.certificates == (ONE.certificate,)
    found = PemFile.parse(ONE.private.private_bytes(_DER, _PKCS8, _PLAIN))
    assert found.is_der
    assert found.key is not None


def test_keys_that_cannot_be_used() -> None:
    secret = serialization.BestAvailableEncryption(b"secret")
    for encoding in (_PEM, _DER):
        found = PemFile.parse(ONE.private.private_bytes(encoding, _PKCS8, secret))
        assert (found.key, found.key_trouble) == (None, "the private key is encrypted")
    other = ed25519.Ed25519PrivateKey.generate()
    for encoding in (_PEM, _DER):
        assert "serves no browser" in (PemFile.parse(other.private_bytes(encoding, _PKCS8, _PLAIN)).key_trouble or "")


def test_what_is_neither_says_what_it_is() -> None:
    assert why(b" \n") == "is empty"
    assert why(ONE.chain[:-40]).startswith("is cut off")
    assert why(b"-----BEGIN PKCS7-----\n-----END PKCS7-----\n").startswith("is PKCS#7: convert it with `openssl pkcs7")
    assert why(ONE.private.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)) == (
        "has neither a certificate nor a key, but 'PUBLIC KEY'"
    )
    assert "it must begin with -----BEGIN" in why(b"hello")
    packed = pkcs12.serialize_key_and_certificates(b"a", ONE.private, ONE.certificate, None, _PLAIN)
    assert "`openssl pkcs12 -in FILE -nodes" in why(packed)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for file, says in ((tmp_path / "fifo", "is no file"), (tmp_path, "is no file"), (tmp_path / "x", "No such file")):
        with pytest.raises(InvalidCertificate, match=says):
            PemFile.read(file)
    large = tmp_path / "large"
    large.write_bytes(b"0" * (1 << 20) + b"1")
    with pytest.raises(InvalidCertificate, match="larger than 1 MiB"):
        PemFile.read(large)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda one: ONE.der[:40] + one))
def test_no_bytes_bring_another_error(content: bytes) -> None:
    with contextlib.suppress(InvalidCertificate):
        PemFile.parse(content)
