"""The key that the CA knows is never lost, wherever a change of keys is cut off."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from proxyd.certs.key import PrivateKey, generate_key, key_kind, key_to_pem
from proxyd.daemon.system_clock import SystemClock
from proxyd.store.account_keys import AccountKeys
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore

FILE = "acme_account+key"
PENDING = f"+proxyd/next-account-keys/{FILE}"


@pytest.fixture
def keys(tmp_path: Path) -> AccountKeys:
    clock = SystemClock()
    return AccountKeys(CertificateStore(DirectoryStore(tmp_path, clock=clock), clock=clock), ("ca",), True)


def found(keys: AccountKeys) -> list[tuple[str, bytes, bool]]:
    return [(one.file, key_to_pem(one.key), one.is_used) for one in keys.load()]


def pem(key: PrivateKey) -> bytes:
    return key_to_pem(key)


def test_each_step_of_a_change_keeps_the_key_that_the_ca_knows(tmp_path: Path, keys: AccountKeys) -> None:
    old, new = generate_key("p256"), generate_key("p256")
    keys.save(old)
    keys.save(new, pending=True)  # the CA is asked
    assert found(keys) == [(FILE, pem(old), True), (PENDING, pem(new), False)]
    keys.save(new)  # it has agreed
    assert found(keys) == [(FILE, pem(new), True)]
    assert not (tmp_path / PENDING).exists()


def test_a_key_whose_answer_never_came_waits_on(keys: AccountKeys) -> None:
    old, new = generate_key("p256"), generate_key("p256")
    keys.save(old)
    keys.save(new, pending=True)
    keys.save(old)
    assert found(keys) == [(FILE, pem(old), True), (PENDING, pem(new), False)]


def test_a_broken_pending_key_harms_nobody(tmp_path: Path, keys: AccountKeys) -> None:
    old = generate_key("p256")
    keys.save(old)
    keys.save(old, pending=True)
    (tmp_path / PENDING).write_bytes(b"half a key")
    assert found(keys) == [(FILE, pem(old), True)]
    keys.save(old)
    assert found(keys) == [(FILE, pem(old), True)]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 1024),
    ],
    ids=key_kind,
)
def test_a_key_by_which_no_ca_takes_requests_is_set_aside(tmp_path: Path, keys: AccountKeys, key: PrivateKey) -> None:
    keys.save(key)
    assert found(keys) == []
    assert [one.read_bytes() for one in (tmp_path / "+proxyd/aside").iterdir()] == [pem(key)]


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_keys_by_which_a_ca_takes_requests(keys: AccountKeys, kind: str) -> None:
    key = generate_key(kind)
    keys.save(key)
    assert found(keys) == [(FILE, pem(key), True)]
