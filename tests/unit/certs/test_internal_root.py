"""The root of our own CA, and what it signs, as OpenSSL and Go see it."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxyd.certs.acceptance import is_unsigned, objection
from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.internal_root import BACKDATED, InternalRoot
from proxyd.certs.key import generate_key, key_to_pem
from proxyd.core.hostname import Hostname
from proxyd.core.renewal import Validity
from tests.support import tls_client
from tests.support.daemon import ROOT

NOW = datetime.now(UTC).replace(microsecond=0)
WEEK = Validity(not_before=NOW - BACKDATED, not_after=NOW + timedelta(days=7))
LOCAL = ["localhost", "a.localhost", "app.test", "a.b.internal", "nas.home.arpa", "nas.local", "127.0.0.1", "::1"]
LOCAL += ["10.1.2.3", "192.168.1.1", "fd00::1"]
OTHERS = ["example.com", "nas", "8.8.8.8", "2001:db8::1", "notlocalhost", "a.attest"]


def _names(*written: str) -> list[Hostname]:
    return [Hostname.parse(one) for one in written]


@pytest.fixture(scope="module")
def limited() -> InternalRoot:
    return InternalRoot.make("machine", NOW, limited=True)


@pytest.fixture(scope="module")
def unlimited() -> InternalRoot:
    return InternalRoot.make("machine", NOW, limited=False)


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_what_it_signs(limited: InternalRoot, kind: str) -> None:
    names = _names("app.test", "10.0.0.1")
    certificate = limited.certify(names, kind, WEEK)
    assert certificate.key_kind == kind
    assert objection(certificate, names, NOW) is None
    assert not is_unsigned(certificate)
    assert certificate.validity == WEEK
    assert certificate.ari_id
    leaf = x509.load_der_x509_certificate(certificate.leaf)
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_leaf_that_was_damaged_is_noticed(limited: InternalRoot) -> None:
    certificate = limited.certify(_names("app.test"), "p256", WEEK)
    der = certificate.leaf
    at = der.index(b"app.test")
    damaged = x509.load_der_x509_certificate(der[:at] + b"ap0" + der[at + 3 :]).public_bytes(Encoding.PEM)
    whole = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    assert is_unsigned(Certificate.parse(certificate.pem.replace(whole, damaged)))


def test_a_certificate_ends_with_the_root(limited: InternalRoot) -> None:
    ends = limited.validity.not_after
    late = Validity(not_before=ends - timedelta(days=1), not_after=ends + timedelta(days=6))
    assert limited.certify(_names("app.test"), "p256", late).not_after == ends


@pytest.mark.parametrize("name", LOCAL)
def test_clients_accept_what_the_limited_root_may_sign(limited: InternalRoot, tmp_path: Path, name: str) -> None:
    assert _openssl(limited, tmp_path, name) is None


@pytest.mark.parametrize("name", OTHERS)
def test_clients_refuse_what_the_limited_root_may_not_sign(limited: InternalRoot, tmp_path: Path, name: str) -> None:
    assert "permitted subtree violation" in (_openssl(limited, tmp_path, name) or "")


@pytest.mark.parametrize("name", [*LOCAL, *OTHERS])
def test_the_other_root_may_sign_all(unlimited: InternalRoot, tmp_path: Path, name: str) -> None:
    assert _openssl(unlimited, tmp_path, name) is None


def test_go_sees_it_the_same_way(limited: InternalRoot, unlimited: InternalRoot, tmp_path: Path) -> None:
    for root, refused in ((limited, OTHERS), (unlimited, [])):
        said = _go(root, tmp_path, [*LOCAL, *OTHERS])
        assert {name for name, words in said.items() if words != "ok"} == set(refused), said


def test_it_is_read_as_it_was_written(limited: InternalRoot) -> None:
    again = InternalRoot.parse(limited.pem)
    assert (again.fingerprint, again.name, again.pem) == (limited.fingerprint, limited.name, limited.pem)
    assert again.certify(_names("a.test"), "p256", WEEK).names == {Hostname("a.test")}


def test_its_name_says_whose_it_is(limited: InternalRoot, unlimited: InternalRoot) -> None:
    assert limited.name.startswith(f"proxyd internal CA machine {NOW:%Y-%m-%d} ")
    assert unlimited.name.startswith("proxyd internal CA for any name, machine ")
    assert len(InternalRoot.make("m" * 300, NOW, limited=False).name) <= 64
    assert InternalRoot.make("", NOW, limited=True).name.startswith("proxyd internal CA localhost ")


def test_what_is_none_is_not_taken(limited: InternalRoot, unlimited: InternalRoot) -> None:
    leaf = limited.certify(_names("a.test"), "p256", WEEK)
    for pem, why in (
        (b"", "cannot be read"),
        (limited.pem[:300], "cannot be read"),
        (limited.certificate_pem, "cannot be read"),
        (key_to_pem(limited.key), "cannot be read"),
        (key_to_pem(limited.key) + unlimited.certificate_pem, "does not belong"),
        (key_to_pem(generate_key("rsa2048")) + limited.certificate_pem, "does not belong"),
        (leaf.pem, "not that of a CA"),
    ):
        with pytest.raises(InvalidCertificate, match=why):
            InternalRoot.parse(pem)


def test_the_key_is_not_shown(limited: InternalRoot) -> None:
    assert "key=" not in repr(limited)


def _file(root: InternalRoot, directory: Path, name: str) -> Path:
    file = directory / "server.pem"
    file.write_bytes(root.certify(_names(name), "p256", WEEK).pem)
    return file


def _openssl(root: InternalRoot, directory: Path, name: str) -> str | None:
    return tls_client.objection(_file(root, directory, name), root.certificate_pem.decode(), name)


def _go(root: InternalRoot, directory: Path, names: list[str]) -> dict[str, str]:
    anchor = directory / "root.pem"
    anchor.write_bytes(root.certificate_pem)
    words = [str(anchor)]
    for number, name in enumerate(names):
        file = directory / f"server{number}.pem"
        file.write_bytes(root.certify(_names(name), "p256", WEEK).pem)
        words += [name, str(file)]
    command = [str(ROOT / "pebble" / "bin" / "verify-peer"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())
