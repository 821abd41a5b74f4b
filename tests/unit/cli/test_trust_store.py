"""The system's trust store, with the system's program on directories of the test's own."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxyd.certs.internal_root import InternalRoot
from proxyd.cli.trust_store import TrustStore, TrustStoreError

Root = tuple[str, str]


@pytest.fixture
def root() -> Root:
    made = InternalRoot.make("m", datetime.now(UTC), limited=True)
    return made.fingerprint, made.certificate_pem.decode()


def _store(directory: Path, *update: str) -> TrustStore:
    place = directory / "local"
    place.mkdir()
    return TrustStore(place=place, update=update or ("true",))


def test_it_is_installed_once(tmp_path: Path, root: Root) -> None:
    store = _store(tmp_path)
    (file,) = store.install([root])
    assert file.read_text() == root[1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert store.install([root]) == []
    file.write_text("cut off")
    assert store.install([root]) == [file]
    (store.place / "other.crt").write_text("not ours")
    assert store.uninstall() == [file]
    assert store.uninstall() == []
    assert [one.name for one in store.place.iterdir()] == ["other.crt"]


def test_what_fails_is_said(tmp_path: Path, root: Root) -> None:
    store = _store(tmp_path, "sh", "-c", "echo the disk is full; exit 3")
    with pytest.raises(TrustStoreError, match="sh failed with status 3: the disk is full"):
        store.install([root])
    with pytest.raises(TrustStoreError, match="could not be run"):
        _none(tmp_path / "none", "/no/such/program").install([root])


def _none(directory: Path, *update: str) -> TrustStore:
    directory.mkdir()
    return _store(directory, *update)


def test_a_directory_that_is_not_there(tmp_path: Path, root: Root) -> None:
    store = TrustStore(place=tmp_path / "none", update=("true",))
    with pytest.raises(TrustStoreError, match="cannot be changed: No such file or directory"):
        store.install([root])
