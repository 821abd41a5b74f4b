"""`proxyd reload`: what changed, or why nothing did, at the terminal of who asked, and to the service manager."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cached import NO_CA, get, keep_certificates, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess, eventually
from tests.support.processes import issuer, replaced, sockets
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"


def serves(daemon: DaemonProcess, host: str) -> bool:
    return status(tls(daemon.https_port, host, get(host))) == 200


@pytest.fixture(params=[1, 2])
def running(request: pytest.FixtureRequest, daemon: DaemonProcess, upstream: Upstream) -> Iterator[DaemonProcess]:
    start_cached(daemon, {HOST: upstream.port}, workers=request.param)
    daemon.wait_for("control socket")
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def rewrite(daemon: DaemonProcess, hosts: dict[str, Any], **more: Any) -> None:
    workers = 2 if "workers: 2" in daemon.file.read_text() else 1
    daemon.configure(hosts, acme=NO_CA, **{"workers": workers, **more})


def test_it_says_what_changed_when_all_serve_it(running: DaemonProcess, upstream: Upstream) -> None:
    keep_certificates(running, OTHER)
    hosts = {HOST: {"upstream": upstream.port, "max_body": "1MiB"}, OTHER: upstream.port}
    rewrite(running, hosts, drain="5s", fast_path=False)
    planned = command(running, "plan", "--json").json
    done = command(running, "reload")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"host added: {OTHER}",
        f"host changed: {HOST} (max_body)",
        "option changed: drain",
        "option changed: fast_path (takes effect at the next restart)",
        "reloaded",
    ]
    assert all(serves(running, OTHER) for _ in range(30)), "every worker has it"
    assert "host added" in running.log()
    again = command(running, "reload", "--json")
    assert (again.status, again.json["applied"], again.json["restart"]) == (0, True, ["fast_path"])
    assert not any(again.json[key] for key in ("added", "removed", "changed", "options", "warnings"))
    assert {key: planned[key] for key in ("added", "changed", "options", "restart")} == {
        "added": [OTHER],
        "changed": {HOST: ["max_body"]},
        "options": ["drain", "fast_path"],
        "restart": ["fast_path"],
    }


def test_every_mistake_is_said_and_nothing_is_applied(running: DaemonProcess, upstream: Upstream) -> None:
    rewrite(running, {OTHER: upstream.port, "three.example.test": {"upstrem": 1}}, lisen=1)
    done = command(running, "reload")
    assert (done.status, done.out) == (2, "")
    checked = command(running, "check")
    assert done.err == f"{checked.err}refused, nothing changed\n"
    assert len(done.err.splitlines()) >= 3
    found = command(running, "reload", "--json")
    assert (found.status, found.json["applied"]) == (2, False)
    assert {one["key"] for one in found.json["mistakes"]} >= {"lisen", "hosts.three.example.test.upstrem"}
    assert serves(running, HOST)
    told = command(running, "status")
    assert "the configuration file was refused, what served before serves" in told.out
    assert told.status == 1
    rewrite(running, {HOST: upstream.port})
    assert command(running, "reload").status == 0
    assert command(running, "status", "--json").json["reload"] is None


def test_many_hosts_are_dropped_only_by_who_says_yes(running: DaemonProcess, upstream: Upstream) -> None:
    few = {HOST: upstream.port}
    rewrite(running, few | {f"{number}.example.test": upstream.port for number in range(9)})
    assert command(running, "reload").status == 0
    rewrite(running, few | {f"{number}.example.test": upstream.port for number in range(3)})
    assert command(running, "plan", "--json").json["refused"].startswith("it would drop 6 of 10 hosts (3.example.test,")
    done = command(running, "reload")
    assert (done.status, done.out) == (2, "")
    assert "refused, nothing changed: it would drop 6 of 10 hosts" in done.err
    assert "run `proxyd reload --yes`" in done.err
    running.forget_log()
    running.reload()
    running.wait_for("reload refused, nothing changed")
    assert "proxyd reload --yes" in running.log()
    assert len(command(running, "status", "--json").json["hosts"]) == 10
    assert command(running, "reload", "--yes").out.count("host removed: ") == 6
    rewrite(running, few)
    assert command(running, "reload").status == 0, "three are no more than five"
    assert len(command(running, "status", "--json").json["hosts"]) == 1


def test_a_port_of_no_daemon_and_a_file_of_another(running: DaemonProcess, make_daemon: Any) -> None:
    other = make_daemon()
    other.file.write_text(running.file.read_text())
    found = command(other, "reload")
    assert (found.status, found.out) == (3, "")
    assert f"the daemon there reads {running.file}" in found.err
    other.configure({HOST: 1}, acme=NO_CA)
    found = command(other, "reload")
    assert found.status == 3
    assert "no daemon answers" in found.err


def test_an_issuer_that_ends_in_the_middle_is_told(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=2)
    daemon.wait_for("control socket")
    keep_certificates(daemon, OTHER)
    rewrite(daemon, {HOST: upstream.port, OTHER: upstream.port}, workers=2)
    obtains = issuer(daemon)
    os.kill(obtains, signal.SIGSTOP)
    line = [sys.executable, "-m", "proxyd", "reload", "-c", str(daemon.file)]
    asking = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: _is_connected(asking.pid), what=daemon.log)
    replaced(daemon, obtains)
    out, err = asking.communicate(timeout=30)
    assert (asking.returncode, out) == (3, "")
    assert "ended in the middle of it" in err
    assert "`proxyd plan`" in err
    eventually(lambda: command(daemon, "reload").status == 0, what=daemon.log)
    assert serves(daemon, OTHER)
    assert daemon.stop() == 0


def _is_connected(pid: int) -> bool:
    """Return whether a process has a connected unix socket."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return bool(sockets(pid) & {fields[6] for fields in lines if fields[5] == "03"})


class Manager:
    """What a service manager hears."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(path))
        self.heard: list[str] = []

    def lines(self) -> list[str]:
        while True:
            try:
                self.heard += self._sock.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.heard

    def forget(self) -> None:
        self.lines()
        self.heard.clear()

    def status(self) -> str:
        return [one for one in self.lines() if one.startswith("STATUS=")][-1]

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path / "notify")
    yield one
    one.close()


@pytest.mark.parametrize("number", [1, 2])
def test_the_service_manager_is_told(daemon: DaemonProcess, upstream: Upstream, manager: Manager, number: int) -> None:
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, workers=number)
    daemon.start(environment={"NOTIFY_SOCKET": str(manager.path)})
    eventually(lambda: "READY=1" in manager.lines(), what=daemon.log)
    for by_command in (False, True):
        manager.forget()
        if by_command:
            assert command(daemon, "reload").status == 0
        else:
            daemon.reload()
        eventually(lambda: "READY=1" in manager.lines(), what=daemon.log)
        assert manager.lines().index("RELOADING=1") < manager.lines().index("READY=1")
        assert any(one.startswith("MONOTONIC_USEC=") for one in manager.lines())
    good = daemon.file.read_text()
    daemon.file.write_text(f"{good}lisen: 1\n")
    manager.forget()
    daemon.reload()
    eventually(lambda: "READY=1" in manager.lines(), what=daemon.log)
    assert f"the configuration file was refused, what served before serves: {daemon.file}:" in manager.status()
    assert "unknown key: did you mean listen?" in manager.status()
    daemon.file.write_text(good)
    manager.forget()
    daemon.reload()
    eventually(lambda: "READY=1" in manager.lines(), what=daemon.log)
    assert "refused" not in manager.status()
    assert daemon.stop() == 0


@pytest.mark.parametrize("number", [1, 2])
def test_a_storm_of_signals_while_the_file_is_gone_is_one_line(
    daemon: DaemonProcess, upstream: Upstream, number: int
) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=number)
    daemon.wait_for("control socket")
    good = daemon.file.read_text()
    daemon.file.unlink()
    daemon.forget_log()
    for _ in range(300):
        daemon.hang_up()
        threading.Event().wait(0.01)
    assert serves(daemon, HOST)
    assert daemon.log().count("there is no such file") == 1, daemon.log()
    assert "many reloads were asked for at once: one is done for all" in daemon.log()
    assert len(daemon.log().splitlines()) < 30
    daemon.file.write_text(good)
    assert json.loads(command(daemon, "reload", "--json").out)["applied"]
    assert daemon.stop() == 0
