"""Several processes serve: each may be killed or hang, and what is configured holds for all of them together."""

import contextlib
import fcntl
import http.client
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, for_anybody, get, keep_certificates, reload, start_cached, status, tls
from tests.support.daemon import ROOT, DaemonProcess, eventually
from tests.support.processes import children, issuer, replaced, sockets, workers
from tests.support.scrape import scrape
from tests.support.upstream import Upstream

HOST = "one.example.test"
SEVERAL: dict[str, Any] = {"workers": 2}
#: So many connections that each of two workers gets one, but for once in a billion times.
MANY = 30


def serves(daemon: DaemonProcess, host: str = HOST) -> bool:
    return status(tls(daemon.https_port, host, get(host))) == 200


def open_connection(daemon: DaemonProcess, host: str = HOST) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", daemon.https_port), 10)
    return for_anybody().wrap_socket(raw, server_hostname=host)


def answers(connection: ssl.SSLSocket) -> bool:
    try:
        connection.sendall(get(HOST).replace(b"Connection: close\r\n", b""))
        received = connection.recv(65536)
        while received and not received.endswith(b"}"):
            received += connection.recv(65536)
        return received.startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


@pytest.fixture
def running(daemon: DaemonProcess, upstream: Upstream) -> Iterator[DaemonProcess]:
    start_cached(daemon, {HOST: upstream.port}, **SEVERAL)
    eventually(lambda: len(workers(daemon)) == 2, what=daemon.log)
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_they_share_the_connections(running: DaemonProcess) -> None:
    with contextlib.ExitStack() as stack:
        before = [len(sockets(pid)) for pid in workers(running)]
        for _ in range(200):
            stack.enter_context(open_connection(running))
        taken = [len(sockets(pid)) - had for pid, had in zip(workers(running), before, strict=True)]
    assert sum(taken) == 200
    assert max(taken) < 130, taken  # 60 % and what chance adds once in a hundred thousand times


def test_a_killed_worker_takes_with_it_what_it_had_and_no_more(running: DaemonProcess) -> None:
    with contextlib.ExitStack() as stack:
        victim, survivor = workers(running)
        clients = []
        for _ in range(MANY):
            had = len(sockets(victim))
            client = stack.enter_context(open_connection(running))
            clients.append((client, len(sockets(victim)) > had))
        assert all(answers(client) for client, _ in clients)
        replaced(running, victim)
        assert [answers(client) for client, was_its in clients if not was_its]
        assert all(answers(client) for client, was_its in clients if not was_its)
        assert survivor in workers(running)
        assert all(serves(running) for _ in range(MANY)), "what waited at it is served by the next"
    running.wait_for("a process ended: it is replaced which=")
    assert "killed by SIGKILL" in running.log()


def test_a_frozen_worker_is_replaced(running: DaemonProcess) -> None:
    replaced(running, workers(running)[0], number=signal.SIGSTOP)
    assert all(serves(running) for _ in range(MANY))
    assert "does not answer: it is killed" in running.log()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_the_issuer_clients_are_served_until_there_is_another(
    running: DaemonProcess, number: signal.Signals
) -> None:
    assert serves(running)
    replaced(running, issuer(running), number=number)
    assert all(serves(running) for _ in range(MANY))
    running.forget_log()
    eventually(lambda: reloads(running), what=running.log)


def reloads(daemon: DaemonProcess) -> bool:
    daemon.reload()
    time.sleep(0.2)
    return "reloaded" in daemon.log()


def test_a_worker_that_comes_later_serves_while_there_is_no_issuer(running: DaemonProcess) -> None:
    obtains = issuer(running)
    os.kill(obtains, signal.SIGSTOP)
    replaced(running, workers(running)[1])
    assert all(serves(running) for _ in range(MANY))
    os.kill(obtains, signal.SIGCONT)


def test_they_end_with_their_supervisor(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: upstream.port}, **SEVERAL)
    eventually(lambda: len(workers(daemon)) == 2, what=daemon.log)
    left = children(daemon)
    os.kill(left[-1], signal.SIGSTOP)
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
    daemon.start()
    assert serves(daemon)
    assert daemon.stop() == 0


def test_a_reload_reaches_all(running: DaemonProcess, upstream: Upstream) -> None:
    keep_certificates(running, "two.example.test")
    running.configure({"two.example.test": upstream.port}, acme=NO_CA, **SEVERAL)
    reload(running)
    for _ in range(MANY):
        assert serves(running, "two.example.test")
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            serves(running)


def test_a_worker_that_hangs_during_a_reload_has_the_new_configuration_when_it_is_replaced(
    running: DaemonProcess, upstream: Upstream
) -> None:
    os.kill(workers(running)[0], signal.SIGSTOP)
    keep_certificates(running, "two.example.test")
    running.configure({HOST: upstream.port, "two.example.test": upstream.port}, acme=NO_CA, **SEVERAL)
    reload(running)
    assert "refused" not in running.log()
    for _ in range(MANY):
        assert serves(running, "two.example.test")


def test_a_mistake_reaches_none(running: DaemonProcess) -> None:
    running.file.write_text("hosts: [\n")
    running.reload()
    running.wait_for("reload refused, nothing changed")
    assert all(serves(running) for _ in range(MANY))


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_ip"])
def test_a_limit_of_connections_is_that_of_all(daemon: DaemonProcess, upstream: Upstream, limit: str) -> None:
    start_cached(daemon, {HOST: upstream.port}, limits={limit: 10}, **SEVERAL)
    with contextlib.ExitStack() as stack:
        eventually(lambda: is_free(daemon))  # those that asked whether it listens have left
        for _ in range(10):
            assert answers(stack.enter_context(open_connection(daemon)))
        for _ in range(MANY):
            assert not is_free(daemon)
        os.kill(workers(daemon)[0], signal.SIGKILL)
        eventually(lambda: is_free(daemon), what=daemon.log)  # what it had counts no longer
    assert daemon.stop() == 0


def is_free(daemon: DaemonProcess) -> bool:
    with contextlib.suppress(OSError):
        return serves(daemon)
    return False


def test_a_limit_of_an_upstream_is_that_of_all(daemon: DaemonProcess, slow: "SlowUpstream") -> None:
    start_cached(daemon, {HOST: {"upstream": slow.port, "max_upstream_connections": 3}}, **SEVERAL)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(open_connection(daemon)).sendall(get(HOST))
        eventually(lambda: len(slow.peers) == 3, what=daemon.log)
        for _ in range(MANY):
            assert status(tls(daemon.https_port, HOST, get(HOST))) == 503
    slow.answer()
    eventually(lambda: status(tls(daemon.https_port, HOST, get(HOST))) == 200, what=daemon.log)
    assert daemon.stop() == 0


class SlowUpstream:
    """Takes connections, and answers when it is told to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.peers: list[socket.socket] = []
        self.asked: list[bytes] = []
        self._answers = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def answer(self) -> None:
        self._answers.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for peer in self.peers:
            peer.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                self.peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.asked.append(peer.recv(65536))
            self._answers.wait()
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def slow() -> Iterator[SlowUpstream]:
    one = SlowUpstream()
    yield one
    one.close()


def test_health_is_asked_for_once_and_known_to_all(daemon: DaemonProcess, slow: SlowUpstream) -> None:
    slow.answer()
    health = {"path": "/up", "interval": "500ms", "timeout": "400ms", "fails": 2}
    start_cached(daemon, {HOST: {"upstream": slow.port, "health": health}}, **SEVERAL)
    time.sleep(3)
    assert 5 <= len(slow.asked) <= 8, slow.asked
    assert all(serves(daemon) for _ in range(MANY))
    slow.close()
    daemon.wait_for("its health checks fail")
    for _ in range(MANY):
        assert status(tls(daemon.https_port, HOST, get(HOST))) == 503
    replaced(daemon, workers(daemon)[0])
    for _ in range(MANY):
        assert status(tls(daemon.https_port, HOST, get(HOST))) == 503, "who comes later knows it too"
    assert daemon.stop() == 0


def test_nothing_in_flight_is_lost_when_it_is_stopped_under_load(running: DaemonProcess) -> None:
    outcomes: list[str] = []

    def ask_again_and_again() -> None:
        connection = http.client.HTTPSConnection("127.0.0.1", running.https_port, timeout=10, context=for_anybody())
        connection.sock = open_connection(running)
        while connection.sock is not None:  # the answer said that it is the last
            try:
                connection.request("POST", "/", b"0123456789" * 100, {"Host": HOST})
                outcomes.append(str(connection.getresponse().read()))
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                return  # closed while it was idle: the client's to repeat (RFC 9112 §9.3.1)
            except (OSError, http.client.HTTPException) as error:
                outcomes.append(repr(error))
                return

    threads = [threading.Thread(target=ask_again_and_again) for _ in range(20)]
    for one in threads:
        one.start()
    eventually(lambda: len(outcomes) > 200)
    assert running.stop() == 0
    for one in threads:
        one.join()
    running.start()
    assert len(outcomes) > 200
    assert {one for one in outcomes if '"size": 1000' not in one} == set()


_PASS = """
import os, socket, sys
https, http = (socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:3])
for number, one in ((3, https), (4, http)):
    one.set_inheritable(True)
    moved = os.dup(one.fileno())
    os.dup2(moved, number + 10)
for number in (3, 4):
    os.dup2(number + 10, number)
    os.set_inheritable(number, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
os.execv(sys.executable, [sys.executable, "-m", "proxyd", "run", "-c", sys.argv[3]])
"""


@pytest.mark.parametrize("number", [1, 2])
def test_sockets_that_are_passed_in_are_shared(daemon: DaemonProcess, upstream: Upstream, number: int) -> None:
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, workers=number)
    log = daemon.directory / "proxyd.log"
    command = [sys.executable, "-c", _PASS, str(daemon.https_port), str(daemon.http_port), str(daemon.file)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stderr=file)
    try:
        eventually(lambda: "listening" in daemon.log(), what=daemon.log)
        eventually(lambda: serves(daemon), what=daemon.log)
        assert all(serves(daemon) for _ in range(MANY))
        assert "127.0.0.1" in daemon.log()
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_port_that_is_taken_is_said_and_nobody_is_left(daemon: DaemonProcess, upstream: Upstream) -> None:
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, **SEVERAL)
    with socket.create_server(("127.0.0.1", daemon.https_port)):
        daemon.start(wait=False)
        assert daemon.process is not None
        assert daemon.process.wait(30) == 2
    assert f"another program uses port {daemon.https_port}" in daemon.log()


def test_a_cache_that_keeps_nothing_is_said_and_nobody_is_left(daemon: DaemonProcess, upstream: Upstream) -> None:
    daemon.cache.write_text("a file where the directory should be")
    daemon.configure({HOST: upstream.port}, acme=NO_CA, **SEVERAL)
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(30) == 2
    assert daemon.log().count("cannot start reason=") == 1
    assert "Traceback" not in daemon.log()


def test_an_interrupt_from_the_terminal_is_a_stop(running: DaemonProcess) -> None:
    assert running.process is not None
    for pid in (running.process.pid, *children(running)):  # a terminal sends it to all
        with contextlib.suppress(ProcessLookupError):  # it has ended with the others already
            os.kill(pid, signal.SIGINT)
    assert running.process.wait(30) == 0
    assert "it is replaced" not in running.log()


def test_what_a_killed_worker_had_counted_is_not_lost(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = free_port()
    start_cached(daemon, {HOST: upstream.port}, admin={"listen": f"127.0.0.1:{port}"}, **SEVERAL)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_connection(daemon)) for _ in range(MANY)]
        assert all(answers(client) for client in clients)
        assert scrape(port)["proxyd_connections_open", "https"] == MANY
        for pid in workers(daemon):
            replaced(daemon, pid)
        eventually(lambda: scrape(port)["proxyd_connections_open", "https"] == 0, what=daemon.log)
        assert scrape(port)["proxyd_requests_total", "2xx", HOST] == MANY
        assert serves(daemon)
        eventually(lambda: scrape(port)["proxyd_requests_total", "2xx", HOST] == MANY + 1)
    assert daemon.stop() == 0


def test_who_is_replaced_begins_as_the_others_did(running: DaemonProcess, upstream: Upstream) -> None:
    """A change that takes effect at the next restart does not come piece by piece."""
    listen = {"https": f"127.0.0.1:{running.https_port}", "http": [], "proxy_protocol": ["127.0.0.0/8"]}
    running.configure({HOST: upstream.port}, acme=NO_CA, listen=listen, **SEVERAL)
    reload(running)
    assert "this change takes effect at the next restart" in running.log()
    for pid in children(running):
        replaced(running, pid)
    assert all(serves(running) for _ in range(MANY))
    eventually(lambda: reloads(running), what=running.log)
    assert "this change takes effect at the next restart" in running.log()


def test_a_reload_that_the_issuer_did_not_survive_is_made_by_the_next(
    running: DaemonProcess, upstream: Upstream
) -> None:
    keep_certificates(running, "two.example.test")
    running.configure({HOST: upstream.port, "two.example.test": upstream.port}, acme=NO_CA, **SEVERAL)
    obtains = issuer(running)
    os.kill(obtains, signal.SIGSTOP)
    running.forget_log()
    running.reload()
    time.sleep(0.2)  # the supervisor passes it on
    replaced(running, obtains)
    running.wait_for("reloaded")
    assert all(serves(running, "two.example.test") for _ in range(MANY))


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("reader", ["stands still", "is gone"])
def test_nobody_waits_for_who_reads_the_log(
    daemon: DaemonProcess, upstream: Upstream, number: int, reader: str
) -> None:
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, workers=number)
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
    with open(reads, "rb") as log:
        command = [sys.executable, "-m", "proxyd", "run", "-c", str(daemon.file)]
        daemon.process = subprocess.Popen(command, cwd=ROOT, stderr=writes)
        os.close(writes)
        for line in log:
            if b"on=http " in line:
                break
        if reader == "is gone":
            log.close()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(open_connection(daemon)) for _ in range(MANY)]
            for _ in range(10):  # each worker writes more than the pipe holds
                assert all(answers(client) for client in clients)
        daemon.hang_up()
        if number > 1:
            replaced(daemon, workers(daemon)[0])
            assert serves(daemon)
        assert daemon.stop() == 0


def test_a_stop_reaches_who_is_just_being_born(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path) -> None:
    slow = "import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep(1))\n"
    (tmp_path / "sitecustomize.py").write_text(slow)
    keep_certificates(daemon, HOST)
    daemon.configure({HOST: upstream.port}, acme=NO_CA, **SEVERAL)
    daemon.start(wait=False, environment={"PYTHONPATH": str(tmp_path)})
    eventually(lambda: len(children(daemon)) == 3)
    assert daemon.stop() == 0


def test_without_descriptors_the_supervisor_loses_messages_and_no_process(
    daemon: DaemonProcess, upstream: Upstream
) -> None:
    start_cached(daemon, {HOST: upstream.port}, **SEVERAL)
    eventually(lambda: len(workers(daemon)) == 2, what=daemon.log)
    assert daemon.process is not None
    supervisor, obtains = daemon.process.pid, issuer(daemon)
    os.kill(supervisor, signal.SIGSTOP)
    keep_certificates(daemon, "two.example.test")
    daemon.configure({HOST: upstream.port, "two.example.test": upstream.port}, acme=NO_CA, **SEVERAL)
    os.kill(obtains, signal.SIGHUP)
    daemon.wait_for("reloaded")
    os.kill(obtains, signal.SIGKILL)
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))
    os.kill(supervisor, signal.SIGCONT)
    daemon.wait_for("a message of a process is lost")
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: len(children(daemon)) == 3 and obtains not in children(daemon), what=daemon.log)
    eventually(lambda: daemon.log().count("reloaded") == 2, what=daemon.log)  # who came did not know of the first
    for _ in range(MANY):
        assert serves(daemon, "two.example.test")
    assert daemon.stop() == 0
