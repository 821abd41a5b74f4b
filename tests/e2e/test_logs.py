"""The log as a terminal, the journal, a machine and a file get it; files that are moved, cut or cannot be written."""

import contextlib
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, get, keep_certificates, plain, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess, eventually
from tests.support.journal import Journal
from tests.support.processes import issuer, workers
from tests.support.scrape import scrape
from tests.support.upstream import Upstream

HOST = "one.example.test"
RUN = [sys.executable, "-m", "proxyd", "run", "-c"]


def ask(daemon: DaemonProcess, path: str = "/") -> int:
    return status(tls(daemon.https_port, HOST, get(HOST, path=path)))


def entries(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("number", [1, 2])
def test_json_lines_where_nobody_looks(daemon: DaemonProcess, upstream: Upstream, number: int) -> None:
    start_cached(daemon, {HOST: upstream.port}, log={"format": "auto"}, workers=number)
    assert ask(daemon, "/a?b=c") == 200
    assert daemon.stop() == 0
    found = entries(daemon.log())
    assert all(one.keys() >= {"time", "level", "logger", "event"} for one in found)
    (request,) = [one for one in found if one["event"] == "request"]
    assert (request["host"], request["target"], request["status"]) == (HOST, "/a?b=c", 200)


def test_lines_for_a_person_on_a_terminal(daemon: DaemonProcess, upstream: Upstream) -> None:
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, log={"format": "auto"})
    ours, theirs = pty.openpty()
    with open(ours, "rb") as terminal:
        daemon.process = subprocess.Popen([*RUN, str(daemon.file)], cwd=ROOT, stderr=theirs)
        os.close(theirs)
        assert any(b" INFO    listening on=https address=127.0.0.1:" in line for line in terminal)
        drained = threading.Thread(target=lambda: [*until_closed(terminal)])
        drained.start()
        assert daemon.stop() == 0
        drained.join(30)


def until_closed(terminal: Any) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # EIO: nobody has the other end
        yield from terminal


@pytest.mark.parametrize("number", [1, 2])
def test_the_journal_gets_fields(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, number: int) -> None:
    keep_certificates(daemon, HOST)
    hosts = {HOST: upstream.port, "two.example.test": "127.0.0.1:1"}
    daemon.configure(hosts, acme=NO_CA, log={"format": "auto"}, workers=number)
    (tmp_path / "run" / "systemd" / "journal").mkdir(parents=True)
    log = tmp_path / "stderr"
    with Journal(tmp_path / "run" / "systemd" / "journal" / "socket") as journal, log.open("wb") as stderr:
        at = os.fstat(stderr.fileno())
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        # The root of a chroot is no mount, and has no propagation of its own to be made private.
        unshare = ["unshare", "--mount", "--propagation", "unchanged"]
        private = "mount --make-rprivate / 2>/dev/null || mount --make-private /run"
        mounted = f'{private}; mount --bind {tmp_path}/run /run && exec "$@"'
        daemon.process = subprocess.Popen(
            [*unshare, *user, "sh", "-ec", mounted, "sh", *RUN, str(daemon.file)],
            cwd=ROOT,
            stderr=stderr,
            env={**os.environ, "JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"},
        )
        found = [journal.entry()]
        while found[-1]["PROXYD_EVENT"] != "listening":
            found.append(journal.entry())
        assert ask(daemon) == 200
        daemon.process.send_signal(signal.SIGTERM)
        while found[-1]["PROXYD_EVENT"] != "stopped":
            found.append(journal.entry())
        assert daemon.process.wait(30) == 0
    listening = next(one for one in found if one["PROXYD_EVENT"] == "listening")
    assert listening["PRIORITY"] == "6"
    assert listening["SYSLOG_IDENTIFIER"] == "proxyd"
    assert listening["PROXYD_ADDRESS"] == f"127.0.0.1:{daemon.https_port}"
    assert listening["MESSAGE"] == f"listening on=https address=127.0.0.1:{daemon.https_port}"
    # Lines of requests go there many at once: an entry for each would cost a good part of the request.
    assert log.read_text().startswith(f"<6>request host={HOST} ")
    assert log.read_text().count("\n") == 1


@pytest.mark.parametrize("how", ["create", "nocreate", "copytruncate", "nobody says so"])
def test_no_line_is_lost_or_torn_when_the_file_is_rotated(
    daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "access.log"
    start_cached(daemon, {HOST: upstream.port}, log={"access": {"file": str(file)}}, workers=2)
    eventually(lambda: len(workers(daemon)) == 2, what=daemon.log)
    assert daemon.process is not None
    over = threading.Event()
    counts = [0] * 4

    def ask_again_and_again(client: int) -> None:
        while not over.is_set():
            assert ask(daemon, f"/{client}/{counts[client]}") == 200
            counts[client] += 1

    clients = [threading.Thread(target=ask_again_and_again, args=[client]) for client in range(len(counts))]
    for one in clients:
        one.start()
    rotated: list[Path] = []
    lost = 0
    for number, sign in enumerate([signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1]):
        eventually(lambda: file.exists() and file.stat().st_size > 2000, what=daemon.log)
        rotated.append(tmp_path / f"access.log.{number}")
        if how == "copytruncate":
            rotated[-1].write_bytes(file.read_bytes())
            copied = rotated[-1].read_text().count("\n")
            lost += file.read_text().count("\n") - copied  # that way loses what comes between
            os.truncate(file, 0)
            continue
        file.rename(rotated[-1])
        if how == "create":
            file.touch(0o600)
        if how != "nobody says so":
            daemon.process.send_signal(sign)
    over.set()
    for one in clients:
        one.join()
    assert daemon.stop() == 0
    written = [one for one in (*rotated, file) if one.exists()]  # told by nobody, it may not have come to the last one
    found = [one["target"] for path in written for one in entries(path.read_text())]
    assert len(set(found)) == len(found)
    expected = {f"/{client}/{number}" for client, count in enumerate(counts) for number in range(count)}
    if how != "copytruncate":
        assert set(found) == expected
    assert stat.S_IMODE(written[-1].stat().st_mode) & 0o007 == 0  # the copies are of this test


def test_a_file_in_the_combined_format(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    access = {"file": str(file), "format": "combined", "query": False, "client": "masked"}
    start_cached(daemon, {HOST: upstream.port}, log={"access": access})
    lines = "Referer: https://a.test/?from", "User-Agent: Mozilla/5.0 (X11)"
    assert status(tls(daemon.https_port, HOST, get(HOST, *lines, path="/a?b=c"))) == 200
    eventually(lambda: file.read_text().endswith("\n"), what=daemon.log)
    assert file.read_text().startswith("127.0.0.0 - - [")
    assert '] "GET /a HTTP/1.1" 200 ' in file.read_text()
    assert file.read_text().endswith(' "https://a.test/" "Mozilla/5.0 (X11)"\n')
    assert f"request host={HOST}" not in daemon.log()


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_that_cannot_be_written_is_told_once_and_all_is_served(
    daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, number: int
) -> None:
    file = tmp_path / "logs" / "access.log"
    port, log = free_port(), {"access": {"file": str(file)}}
    admin = {"listen": f"127.0.0.1:{port}"}
    start_cached(daemon, {HOST: upstream.port}, log=log, workers=number, admin=admin)
    daemon.wait_for("the access log cannot be written")
    told = command(daemon, "status")
    assert told.status == 1
    assert f"the access log {file} cannot be written: No such file or directory: make the directory" in told.out
    assert scrape(port)["proxyd_trouble", "access_log"] == 1
    assert [ask(daemon) for _ in range(20)] == [200] * 20
    assert daemon.log().count("the access log cannot be written") == 1
    assert f'reason="No such file or directory: make the directory {file.parent}"' in daemon.log()
    file.parent.mkdir()
    eventually(lambda: ask(daemon) == 200 and "the access log is written again" in daemon.log(), what=daemon.log)
    assert daemon.log().count("the access log is written again") == 1
    assert command(daemon, "status").status == 0
    assert scrape(port)["proxyd_trouble", "access_log"] == 0


def test_a_reload_moves_the_log_elsewhere(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path) -> None:
    access: dict[str, object] = {"file": str(tmp_path / "one.log")}
    start_cached(daemon, {HOST: upstream.port}, log={"access": access}, workers=2)
    assert ask(daemon, "/one") == 200
    for log in ({"access": {**access, "file": str(tmp_path / "two.log")}}, {"access": False}, {"access": True}):
        daemon.configure({HOST: upstream.port}, acme=NO_CA, log=log, workers=2)
        daemon.forget_log()
        daemon.reload()
        daemon.wait_for("reloaded")
        assert ask(daemon, "/next") == 200
    daemon.wait_for("target=/next")
    assert daemon.stop() == 0
    assert daemon.log().count("target=/next") == 1
    for name, target in [("one", "/one"), ("two", "/next")]:
        assert [one["target"] for one in entries((tmp_path / f"{name}.log").read_text())] == [target]


@pytest.mark.parametrize("number", [1, 2])
def test_a_refused_reload_by_signal_opens_the_log_anew_all_the_same(
    daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, number: int
) -> None:
    file = tmp_path / "access.log"
    start_cached(daemon, {HOST: upstream.port}, log={"access": {"file": str(file)}}, workers=number)
    daemon.wait_for("control socket")
    file.rename(tmp_path / "access.log.1")
    daemon.file.write_text(f"{daemon.file.read_text()}lisen: 1\n")
    daemon.reload()
    daemon.wait_for("reload refused, nothing changed")
    eventually(file.exists, what=daemon.log)
    assert daemon.stop() == 0


def test_a_flood_is_a_handful_of_lines(daemon: DaemonProcess) -> None:
    start_cached(daemon, {HOST: ["127.0.0.1:1", "127.0.0.1:2"]}, workers=1, log={"level": "info", "access": False})
    for _ in range(100):
        assert ask(daemon) in (502, 503)
    assert daemon.stop() == 0
    assert daemon.log().count("request_id=") <= 24
    assert " more like it in the last minute host=one.example.test reason=" in daemon.log()


@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_to_open_logs_anew_ends_nobody(daemon: DaemonProcess, upstream: Upstream, number: int) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=number)
    assert daemon.process is not None
    pids = [daemon.process.pid, *([*workers(daemon), issuer(daemon)] if number > 1 else [])]
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)
    assert ask(daemon) == 200
    assert daemon.stop() == 0


SECRET = "Bearer never-in-a-log"


def test_what_is_secret_in_a_request_is_in_no_line(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = {HOST: upstream.port, "two.example.test": "127.0.0.1:1"}
    start_cached(daemon, hosts, log={"level": "debug", "access": {"query": False}})
    lines = f"Authorization: {SECRET}", f"Cookie: id={SECRET}", f"Proxy-Authorization: {SECRET}", f"X-Api-Key: {SECRET}"
    for host in hosts:
        for path in ("/", "/?token=never-in-a-log"):
            assert status(tls(daemon.https_port, HOST, get(host, *lines, path=path))) in (200, 421)
    assert status(tls(daemon.https_port, "two.example.test", get("two.example.test", *lines))) == 502
    bad = get(HOST, *lines, "Bad Name: never-in-a-log", path="/?token=never-in-a-log")
    assert status(tls(daemon.https_port, HOST, bad)) == 400
    assert status(plain(daemon.http_port, get(HOST, *lines, path="/?token=never-in-a-log"))) == 308
    assert daemon.stop() == 0
    assert "never-in-a-log" not in daemon.log()
