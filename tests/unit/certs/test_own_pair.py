"""Files of the operator: which can serve, and what is said of those that cannot, or should be looked at."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from proxyd.certs.own_pair import OwnPair, PairCheck, PairError, lacks, out_of_time, read_pair
from proxyd.certs.system_roots import SystemRoots
from proxyd.core.hostname import Hostname
from tests.support.certs import make_pem
from tests.support.own_files import Issued, TestCa, put

CA = TestCa()
ONE = CA.issue("a.example.test", "*.b.example.test")
DAY = timedelta(days=1)


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    return tmp_path / "a.crt"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "a.key"


def read(cert: Path, key: Path | None) -> OwnPair:
    return read_pair(cert, key, SystemRoots(), datetime.now(UTC))


def why(cert: Path, key: Path | None) -> tuple[str, str]:
    with pytest.raises(PairError) as caught:
        read(cert, key)
    return caught.value.option, str(caught.value)


def test_two_files_and_one(cert: Path, key: Path, tmp_path: Path) -> None:
    ONE.put(cert, key)
    both = put(tmp_path / "both.pem", ONE.chain + ONE.key, mode=0o600)
    for pair in (read(cert, key), read(both, None), read(both, both)):
        assert pair.remarks == ()
        assert f"{pair.certificate.serial:x}" == ONE.serial
        assert pair.certificate.pem.count(b"BEGIN CERTIFICATE") == 2


def test_what_cannot_serve(cert: Path, key: Path) -> None:
    ONE.put(cert, key)
    assert why(cert, None) == ("cert", f"{cert}: has no private key: set key to the file that has it")
    assert why(key, cert) == (
        "cert",
        f"{key}: has the key, and {cert} the certificate: exchange the values of cert and key",
    )
    assert why(cert, cert) == ("key", f"{cert}: has a certificate and no private key: is it for the option cert?")
    option, text = why(key, key)
    assert option == "cert"
    assert "has a key and no certificate" in text
    put(key, CA.issue("a.example.test").key)
    assert why(cert, key)[1].startswith(f"{cert}: the key in {key} does not belong to the certificate: put the two")
    put(cert, CA.intermediate)
    assert "begins with the CA CN=Test Intermediate: is it the chain without your certificate?" in why(cert, key)[1]
    cert.unlink()
    assert why(cert, key) == ("cert", f"{cert}: cannot be read (No such file or directory)")


def test_keys_that_are_locked_and_files_that_are_no_pem(cert: Path, key: Path) -> None:
    ONE.put(cert, key)
    locked = ONE.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    put(key, locked)
    option, text = why(cert, key)
    assert option == "key"
    assert text.startswith(f"{key}: the private key is encrypted, and nobody is ever asked for its password: ")
    put(cert, ONE.der)
    put(key, ONE.key)
    command = f"openssl x509 -inform der -in {cert} -out {cert.with_suffix('.pem')}"
    assert why(cert, key)[1] == f"{cert}: is DER, not PEM: convert it with `{command}`"


def remarks(pair: OwnPair) -> list[tuple[str, bool]]:
    return [(str(one), one.is_alarm) for one in pair.remarks]


def test_a_leaf_alone_is_an_alarm(cert: Path, key: Path) -> None:
    ONE.put(cert, key)
    put(cert, ONE.leaf)
    ((text, is_alarm),) = remarks(read(cert, key))
    assert is_alarm
    assert text.startswith(f"{cert}: leaf only: Go clients will fail with unknown authority")
    assert text.endswith("append the intermediate, the certificate of CN=Test Intermediate")


def test_a_chain_that_is_over_is_an_alarm(cert: Path, key: Path) -> None:
    TestCa("Old", lasts=timedelta(hours=12)).issue("a.example.test").put(cert, key)
    ((text, is_alarm),) = remarks(read(cert, key))
    assert is_alarm
    assert text.startswith(f"{cert}: the certificate of CN=Old Intermediate expired at ")
    assert text.endswith(" UTC, and clients refuse the chain: put its successor into the chain")


def test_what_is_worth_a_look(cert: Path, key: Path) -> None:
    ONE.put(cert, key)
    put(cert, CA.intermediate + ONE.leaf)
    pair = read(cert, key)
    assert pair.certificate.leaf == ONE.der
    ((text, is_alarm),) = remarks(pair)
    assert "are in a wrong order; they are sent in the right one" in text
    assert not is_alarm
    key.chmod(0o644)
    put(cert, ONE.chain + TestCa("Other").root)
    shown = [text for text, _ in remarks(read(cert, key))]
    assert shown[0].startswith(f"{cert}: not a part of the chain, and sent all the same: CN=Other Root")
    assert shown[1].startswith(f"{key}: every user of this machine can read the private key (mode 0644): chmod 640")
    put(cert, make_pem("a.example.test"), mode=0o600)
    ((text, _),) = remarks(read(cert, None))
    assert "self-signed" in text


def test_names_and_times(cert: Path) -> None:
    now = datetime.now(UTC)

    def made(one: Issued) -> OwnPair:
        return read(put(cert, one.chain + one.key, mode=0o600), None)

    certificate = made(ONE).certificate
    assert lacks(certificate, Hostname("a.example.test"), cert) is None
    assert lacks(certificate, Hostname("x.b.example.test"), cert) is None
    says = lacks(certificate, Hostname("x.y.b.example.test"), cert) or ""
    assert "is not for x.y.b.example.test, but for *.b.example.test, a.example.test: put one there" in says
    assert out_of_time(certificate, now, cert) is None
    assert "expired at" in (out_of_time(certificate, now + 100 * DAY, cert) or "")
    assert "not valid before" in (out_of_time(certificate, now - 10 * DAY, cert) or "")


def test_all_of_it_for_check(cert: Path, key: Path) -> None:
    now, host = datetime.now(UTC), Hostname("a.example.test")
    ONE.put(cert, key)
    assert [*PairCheck(now)(cert, key, [host])] == []
    ((option, text, is_fatal),) = PairCheck(now)(cert, key, [host, Hostname("c.example.test")])
    assert (option, is_fatal) == ("cert", True)
    assert "is not for c.example.test" in text
    ((_, text, is_fatal),) = PairCheck(now + 80 * DAY)(cert, key, [host])
    assert "nothing renews it" in text
    assert not is_fatal
    ((_, text, is_fatal),) = PairCheck(now + 90 * DAY)(cert, key, [host])
    assert is_fatal
    check = PairCheck(now)
    assert [*check(cert, None, [host])] == [
        ("cert", f"{cert}: has no private key: set key to the file that has it", True)
    ]
    cert.unlink()
    assert [*check(cert, None, [host])], "read once"
