"""Where it listens can be changed while it serves: all addresses of the new file, or those of the old one."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, for_anybody, get, plain, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import DaemonProcess, accepts, eventually
from tests.support.processes import issuer, replaced, workers
from tests.support.scrape import scrape
from tests.support.upstream import Upstream

HOST = "one.example.test"
MANY = 20


@pytest.fixture(params=[1, 2])
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def running(number: int, daemon: DaemonProcess, upstream: Upstream) -> Iterator[DaemonProcess]:
    start_cached(daemon, {HOST: upstream.port}, workers=number)
    daemon.wait_for("control socket")
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def listen(daemon: DaemonProcess, upstream: Upstream, number: int, **listen: Any) -> None:
    """Write a file that differs in where it listens."""
    before = {"https": f"127.0.0.1:{daemon.https_port}", "http": f"127.0.0.1:{daemon.http_port}"}
    admin = {"listen": listen.pop("admin", [])}
    daemon.configure({HOST: upstream.port}, acme=NO_CA, workers=number, listen={**before, **listen}, admin=admin)


def serves(port: int, address: str = "127.0.0.1") -> bool:
    with _open(port, address) as connection:
        connection.sendall(get(HOST))
        return connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_addresses_come_and_go(running: DaemonProcess, upstream: Upstream, number: int) -> None:
    https, http, admin = free_port(), free_port(), free_port()
    with _open(running.https_port) as kept:
        listen(
            running,
            upstream,
            number,
            https=[f"127.0.0.1:{running.https_port}", f"127.0.0.1:{https}"],
            http=f"127.0.0.1:{http}",
            admin=f"127.0.0.1:{admin}",
        )
        done = command(running, "reload")
        assert done.status == 0, done
        assert done.out.splitlines() == [
            "option changed: admin.listen",
            "option changed: listen.http",
            "option changed: listen.https",
            "reloaded",
        ]
        assert all(serves(port) for _ in range(MANY) for port in (https, running.https_port))
        assert plain(http, get(HOST)).startswith(b"HTTP/1.1 308 ")
        assert not accepts(running.http_port)
        assert scrape(admin)["proxyd_config_last_reload_successful",] == 1
        assert _answers(kept), "a connection is kept"
        listen(running, upstream, number, https=f"127.0.0.1:{https}", http=[])
        assert command(running, "reload").status == 0
        assert not any(map(accepts, (running.https_port, http, admin)))
        assert all(serves(https) for _ in range(MANY))


def test_who_comes_later_listens_where_the_others_do(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=2)
    daemon.wait_for("control socket")
    first, daemon.https_port = daemon.https_port, free_port()
    listen(daemon, upstream, 2)
    assert command(daemon, "reload").status == 0
    for pid in (*workers(daemon), issuer(daemon)):
        replaced(daemon, pid)
    assert all(serves(daemon.https_port) for _ in range(MANY))
    assert not accepts(first)
    listen(daemon, upstream, 2, https=[f"127.0.0.1:{daemon.https_port}", f"127.0.0.1:{first}"])
    eventually(lambda: command(daemon, "reload").status == 0, what=daemon.log)
    assert all(serves(port) for _ in range(MANY) for port in (first, daemon.https_port))
    assert daemon.stop() == 0


@pytest.mark.parametrize("key", ["https", "http", "admin"])
def test_an_address_that_is_taken_refuses_all(
    running: DaemonProcess, upstream: Upstream, number: int, key: str
) -> None:
    more = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        wanted: dict[str, Any] = {"https": [f"127.0.0.1:{running.https_port}", f"127.0.0.1:{more}"]}
        here = [wanted[key]] if isinstance(wanted.get(key), str) else wanted.get(key, [])
        wanted[key] = [*here, f"127.0.0.1:{taken}"]
        listen(running, upstream, number, **wanted)
        done = command(running, "reload")
        assert done.status == 2
        assert (
            f"{'admin.listen' if key == 'admin' else f'listen.{key}'}: cannot listen on 127.0.0.1:{taken}" in done.err
        )
        assert f"another program uses port {taken}; `ss -ltnp 'sport = :{taken}'` names it" in done.err
        eventually(lambda: not accepts(more), what=running.log)
        assert accepts(running.http_port)
        assert serves(running.https_port)
    done = command(running, "reload")
    assert done.status == 0, done
    assert all(serves(more) for _ in range(MANY))


def test_the_same_port_on_more_or_fewer_addresses(running: DaemonProcess, upstream: Upstream, number: int) -> None:
    port = running.https_port
    with _storm(port) as failures:
        for https, others in ((f"0.0.0.0:{port}", True), (f"127.0.0.1:{port}", False), (f":{port}", True)):
            listen(running, upstream, number, https=https)
            assert command(running, "reload").status == 0
            assert all(serves(port) for _ in range(MANY))
            if others:
                assert all(serves(port, "127.0.0.2") for _ in range(MANY))
            else:
                with pytest.raises(ConnectionRefusedError):
                    serves(port, "127.0.0.2")
    assert failures == []


@contextlib.contextmanager
def _storm(port: int) -> Iterator[list[str]]:
    """Make connections all the time; what went wrong is in the list."""
    failures: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                serves(port)
            except OSError as error:
                failures.append(repr(error))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield failures
    finally:
        is_over.set()
        asking.join()


def _open(port: int, address: str = "127.0.0.1") -> ssl.SSLSocket:
    return for_anybody().wrap_socket(socket.create_connection((address, port), 10), server_hostname=HOST)


def _answers(connection: ssl.SSLSocket) -> bool:
    connection.sendall(get(HOST).replace(b"Connection: close\r\n", b""))
    return status(connection.recv(65536)) == 200


def test_a_port_changes_what_it_is_for_at_a_restart(running: DaemonProcess, upstream: Upstream, number: int) -> None:
    running.https_port, running.http_port = running.http_port, running.https_port
    listen(running, upstream, number)
    done = command(running, "reload")
    assert done.status == 2
    assert "restart the daemon instead" in done.err
    assert status(tls(running.http_port, HOST, get(HOST))) == 200
