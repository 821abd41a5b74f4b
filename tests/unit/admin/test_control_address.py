import os
import socket
from pathlib import Path

import pytest

from proxyd.admin.control_address import SocketTaken, bind, candidates, connect, last_resorts


def test_a_path_longer_than_a_socket_address(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    path = directory / "control.sock"
    with bind(path), connect(path, timeout=5):
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(directory.iterdir()) == [path]


def test_what_a_dead_daemon_left_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    bind(path).close()
    with bind(path):
        with pytest.raises(SocketTaken, match="another daemon answers"):
            bind(path)
        with connect(path, timeout=5):
            assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "control.sock"
    if kind == "file":
        path.write_text("mine")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SocketTaken, match="is no socket: remove it"):
        bind(path)
    assert path.is_symlink() or path.exists()


def test_a_backlog_that_is_full_is_somebody(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    full = [socket.socket(socket.AF_UNIX) for _ in range(64)]
    with bind(path):
        try:
            for one in full:
                one.setblocking(False)
                try:
                    one.connect(str(path))
                except BlockingIOError:
                    break
            else:
                pytest.skip("this kernel has no end of its backlog")
            with pytest.raises(SocketTaken, match="in use"):
                bind(path)
        finally:
            for one in full:
                one.close()


def test_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    assert [str(one) for one in candidates(None, Path("/c"))] == [
        "/run/a/control.sock",
        "/run/proxyd/control.sock",
        "/c/+proxyd/control.sock",
    ]
    assert candidates(tmp_path / "mine", Path("/c")) == [tmp_path / "mine"]


def test_the_places_when_the_cache_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    of_root = ["/run/proxyd.sock"] if os.geteuid() == 0 else []
    assert [str(one) for one in last_resorts(None)] == ["/run/user/7/proxyd.sock", *of_root]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert [str(one) for one in last_resorts(None)] == of_root
    assert last_resorts(tmp_path / "mine") == []
