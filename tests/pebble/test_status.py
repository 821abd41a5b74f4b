"""`proxyd status` and the control socket, with a real daemon and without one."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"
NOBODY = 65534
ROW = {"state", "issuer", "serial", "not_before", "not_after", "renew_at", "failures", "last_error", "next_try"}


def socket_of(daemon: DaemonProcess) -> Path:
    return daemon.cache / "+proxyd" / "control.sock"


def test_the_same_from_the_daemon_and_from_the_cache(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: {"upstream": upstream.port, "aliases": [OTHER]}}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST, OTHER], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        told = command(daemon, "status", "--json").json
        assert command(daemon, "status", "--json", "nowhere.example.test").status == 2
        assert command(daemon, "status", "--json", "http://x/").status == 2
        assert set(command(daemon, "status", "--json", OTHER).json["hosts"]) == {OTHER}
        table = command(daemon, "status")
        assert [line.split()[:2] for line in table.out.splitlines()[1:]] == [[HOST, "ready"], [OTHER, "ready"]]
        assert "\x1b" not in table.out
        assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL  # the journal is left as it is, with its WAL
        down = command(daemon, "status", "--json")
        assert down.status == 0
        assert "no daemon answers: this is what the cache" in down.err
        assert (told.pop("from"), told["ok"]) == ("daemon", True)
        kept = down.json
        assert kept.pop("from") == "cache"
        assert kept == told
        assert set(told["hosts"][HOST]) >= ROW
        assert told["hosts"][HOST]["issuer"] == pebble.url
        assert set(told["budget"]) == {pebble.url}
        assert command(daemon, "status", "nowhere.example.test").status == 2


@pytest.mark.parametrize("damage", ["missing", "garbage", "directory", "no table"])
def test_without_a_journal_the_certificates_tell(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, damage: str
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port, OTHER: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST, OTHER], daemon=daemon)
        assert daemon.stop() == 0
    journal = daemon.cache / "+proxyd" / "journal.sqlite3"
    journal.unlink()
    if damage == "garbage":
        journal.write_bytes(b"garbage" * 1000)
    elif damage == "directory":
        journal.mkdir()
    elif damage == "no table":
        sqlite3.connect(journal).close()
    (daemon.cache / OTHER).write_text("half a certi")
    before = sorted(str(one) for one in daemon.cache.rglob("*"))
    done = command(daemon, "status", "--json")
    assert done.status == 1
    assert "no history" in done.err or damage == "no table"
    assert done.json["hosts"][HOST]["state"] == "ready"
    assert done.json["hosts"][OTHER]["state"] == "missing"
    assert "not PEM" in done.json["hosts"][OTHER]["last_error"]
    assert sorted(str(one) for one in daemon.cache.rglob("*")) == before  # who looks repairs nothing


def test_trouble_is_told_with_the_next_try(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=1, tls_port=1) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        daemon.wait_for("failures=1")
        told = command(daemon, "status", "--json")
        assert told.status == 1
        assert daemon.stop() == 0
        down = command(daemon, "status", "--json")
        assert down.status == 1
        for done in (told, down):
            row = done.json["hosts"][HOST]
            assert (row["state"], row["failures"], row["serial"]) == ("waiting", 1, None)
            assert "could not validate" in row["last_error"]
            assert row["next_try"]
            assert done.json["ok"] is False


def test_another_user_is_refused(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    path = Path("/tmp") / f"proxyd-{os.getpid()}.sock"  # tmp_path itself is root's only
    daemon.configure(
        {HOST: upstream.port}, acme={"server": "https://127.0.0.1:1/dir"}, admin={"socket": str(path), "listen": []}
    )
    daemon.start()
    daemon.wait_for("control socket")
    assert path.stat().st_mode & 0o777 == 0o600
    assert ask_as(NOBODY, path) == "Permission denied"
    path.chmod(0o666)
    assert "only root and the user of the daemon" in ask_as(NOBODY, path)
    assert '"hosts"' in ask_as(0, path)
    assert daemon.stop() == 0
    assert not path.exists()


def ask_as(uid: int, path: Path) -> str:
    """Return what a process of another user gets from the socket."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the child of a process with threads does nothing but system calls
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(20)
                sock.connect(str(path))
                with contextlib.suppress(BrokenPipeError):  # refused before it was read: the reason is there
                    sock.sendall(b'{"command": "status"}\n')
                os.write(writer, sock.recv(4096))
        except OSError as error:
            os.write(writer, str(error.strerror).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


def test_two_daemons_and_a_stale_socket(
    tmp_path: Path, make_daemon: Callable[[], DaemonProcess], upstream: Upstream
) -> None:
    first, second = make_daemon(), make_daemon()
    acme = {"server": "https://127.0.0.1:1/dir"}
    path = tmp_path / "shared.sock"
    for daemon, host in ((first, HOST), (second, OTHER)):
        daemon.configure({host: upstream.port}, acme=acme, admin={"socket": str(path)})
    first.start()
    first.wait_for("control socket")
    second.start()
    second.wait_for("another daemon answers at")
    second.wait_for("it serves all the same")
    assert set(command(first, "status", "--json").json["hosts"]) == {HOST}
    assert command(second, "status", "--json").json["from"] == "cache"  # never another cache's daemon
    assert second.stop() == 0
    assert path.exists()
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    assert path.exists()
    first.forget_log()
    first.start()
    first.wait_for("control socket")
    assert command(first, "status", "--json").json["from"] == "daemon"


def test_a_file_that_became_wrong_and_no_file_at_all(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    daemon.configure({HOST: upstream.port}, acme={"server": "https://127.0.0.1:1/dir"})
    daemon.start()
    daemon.wait_for("control socket")
    daemon.file.write_text("hosts: [")
    assert json.loads(command(daemon, "status", "--json").out)["from"] == "daemon"
    daemon.file.unlink()
    assert command(daemon, "status", "--json").status == 2
    assert daemon.stop() == 0
