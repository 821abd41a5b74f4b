"""The roots of our own CA on disk: made once, kept, and never replaced without a word."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.certs.internal_root import InternalRoot
from proxyd.store.directory import PRIVATE, DirectoryStore
from proxyd.store.internal_roots import PLACE, InternalRoots, root_file
from proxyd.store.store import DamagedError
from tests.support.clock import FakeClock

CLOCK = FakeClock()
NOW = CLOCK.now()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path, clock=CLOCK)


def _file(directory: Path, *, limited: bool = True) -> Path:
    return directory / PRIVATE / PLACE / root_file(limited=limited)


def test_there_is_one_of_each_kind(store: DirectoryStore, tmp_path: Path) -> None:
    roots = InternalRoots(store, machine="m")
    assert roots.read(limited=True) is None
    first = roots.get(NOW, limited=True)
    assert (first.is_new, first.why) == (True, None)
    assert not _file(tmp_path, limited=False).exists()
    other = roots.get(NOW, limited=False)
    assert other.root.fingerprint != first.root.fingerprint
    assert not roots.get(NOW, limited=True).is_new
    again = InternalRoots(store).get(NOW, limited=True)  # after a restart
    assert (again.root.fingerprint, again.is_new) == (first.root.fingerprint, False)


def test_nobody_else_reads_the_key(store: DirectoryStore, tmp_path: Path) -> None:
    InternalRoots(store, machine="m").get(NOW, limited=True)
    file = _file(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "half"])
def test_what_is_known_is_written_again(store: DirectoryStore, tmp_path: Path, damage: str) -> None:
    roots = InternalRoots(store, machine="m")
    first = roots.get(NOW, limited=True).root
    _damage(_file(tmp_path), damage)
    assert not roots.get(NOW, limited=True).is_new
    assert InternalRoot.parse(_file(tmp_path).read_bytes()).fingerprint == first.fingerprint


@pytest.mark.parametrize("damage", ["empty", "cut", "half"])
def test_a_broken_one_is_moved_aside(store: DirectoryStore, tmp_path: Path, damage: str) -> None:
    first = InternalRoots(store, machine="m").get(NOW, limited=True).root
    _damage(_file(tmp_path), damage)
    broken = _file(tmp_path).read_bytes()
    roots = InternalRoots(store, machine="m")
    with pytest.raises(DamagedError, match=r"root\.pem, the root of the internal CA, is broken"):
        roots.read(limited=True)
    assert _file(tmp_path).read_bytes() == broken  # who only looks changes nothing
    found = roots.get(NOW, limited=True)
    assert found.is_new
    assert found.root.fingerprint != first.fingerprint
    (aside,) = (tmp_path / PRIVATE / "aside").iterdir()
    assert aside.read_bytes() == broken
    assert found.why is not None
    assert str(aside) in found.why


def test_one_that_ends_makes_way(store: DirectoryStore, tmp_path: Path) -> None:
    roots = InternalRoots(store, machine="m")
    first = roots.get(NOW, limited=True).root
    late = first.validity.not_after - timedelta(days=31)
    assert not roots.get(late, limited=True).is_new
    found = roots.get(late + timedelta(days=2), limited=True)
    assert found.is_new
    assert f"ends on {first.validity.not_after:%Y-%m-%d}, and was moved to {tmp_path}" in (found.why or "")


def _damage(file: Path, how: str) -> None:
    whole = file.read_bytes()
    match how:
        case "gone":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(whole[:-100])
        case _:
            file.write_bytes(whole[whole.index(b"-----BEGIN CERTIFICATE") :])
