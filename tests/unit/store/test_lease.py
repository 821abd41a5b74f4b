import fcntl
import os
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.store.lease import LIFE_SECONDS, Lease, Ours, Owner, Theirs, Unknown
from tests.support.clock import FakeClock

LIFE = timedelta(seconds=LIFE_SECONDS + 1)


def lease(path: Path, clock: FakeClock, *, boot: str = "here", pid: int | None = None) -> Lease:
    owner = Owner(pid=pid or os.getpid(), host="machine", boot=boot, token=os.urandom(8).hex())
    return Lease(path, clock=clock, owner=owner, settle=0)


def test_one_holds_it_and_the_next_takes_over_at_its_end(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lease"
    first, second = lease(path, clock), lease(path, clock)
    assert first.hold() == Ours()
    seen = second.hold()
    assert isinstance(seen, Theirs)
    assert seen.owner is not None
    assert (seen.owner.pid, seen.owner.host) == (os.getpid(), "machine")
    for _ in range(5):
        clock.advance(LIFE / 2)
        assert first.hold() == Ours()
        assert isinstance(second.hold(), Theirs)
    first.release()
    assert second.hold() == Ours()
    assert isinstance(first.hold(), Theirs)


def test_a_holder_that_is_stopped_loses_it_after_its_time_and_notices(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lease"
    first, second, third = lease(path, clock), lease(path, clock), lease(path, clock)
    assert first.hold() == Ours()
    assert isinstance(second.hold(), Theirs)
    assert isinstance(third.hold(), Theirs)
    clock.advance(LIFE)
    assert second.hold() == Ours()
    assert isinstance(third.hold(), Theirs)
    assert not first.is_ours()
    assert isinstance(first.hold(), Theirs)
    assert second.is_ours()


def test_a_killed_holder_of_this_machine_is_followed_at_once(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lease"
    killed = lease(path, clock)
    assert killed.hold() == Ours()
    killed._close()  # as the kernel does
    assert lease(path, clock).hold() == Ours()


def test_another_machine_is_believed_for_its_time(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lease"
    elsewhere = lease(path, clock, boot="elsewhere")
    assert elsewhere.hold() == Ours()
    elsewhere._close()  # its lock does not reach us
    here = lease(path, clock)
    assert isinstance(here.hold(), Theirs)
    clock.advance(LIFE / 2)
    assert isinstance(here.hold(), Theirs)
    clock.advance(LIFE)
    assert here.hold() == Ours()


def test_without_locks_the_sign_of_life_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    clock, path = FakeClock(), tmp_path / "lease"
    first, second = lease(path, clock, boot="one"), lease(path, clock, boot="two")
    assert first.hold() == Ours()
    assert isinstance(second.hold(), Theirs)
    clock.advance(LIFE)
    assert first.hold() == Ours()
    assert isinstance(second.hold(), Theirs)
    clock.advance(LIFE)
    assert second.hold() == Ours()
    assert isinstance(first.hold(), Theirs)


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(512), b"[]", b'{"pid": -1}', b"{" * 512, b"\xff" * 5000])
def test_garbage_is_nobodys(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lease"
    path.write_bytes(content)
    assert lease(path, FakeClock()).hold() == Ours()


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo"])
def test_what_lies_in_its_place_makes_way(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "lease", tmp_path / "other"
    other.write_bytes(b"precious")
    if kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to(other)
    else:
        os.mkfifo(path)
    assert lease(path, FakeClock()).hold() == Ours()
    assert other.read_bytes() == b"precious"


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    assert isinstance(lease(tmp_path / "missing" / "lease", FakeClock()).hold(), Unknown)
