"""What a reload leaves as it was: connections, tunnels, what is known of upstreams, the certificate that is shown."""

import contextlib
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, for_anybody, get, keep_certificates, reload, start_cached, status, tls
from tests.support.daemon import DaemonProcess
from tests.support.raw_upstream import Peer, RawUpstream
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"
_KEPT = get(HOST).replace(b"Connection: close\r\n", b"")
_UPGRADE = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".encode()


@pytest.fixture(params=[1, 2])
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def connect(daemon: DaemonProcess, port: int = 0) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port or daemon.https_port), 10)
    return for_anybody().wrap_socket(raw, server_hostname=HOST)


def exchange(client: ssl.SSLSocket, peer: Peer) -> None:
    client.sendall(_KEPT)
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.recv(65536).endswith(b"ok")


def tunnel(client: ssl.SSLSocket, upstream: RawUpstream) -> Peer:
    client.sendall(_UPGRADE)
    peer = upstream.accept()
    peer.head()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 101 ")
    return peer


def test_connections_and_tunnels_of_clients_and_the_ones_to_upstreams(daemon: DaemonProcess, number: int) -> None:
    with RawUpstream() as upstream, contextlib.ExitStack() as clients:
        upstream.script = None
        start_cached(daemon, {HOST: upstream.port}, workers=number)
        tunnelled, kept = (clients.enter_context(connect(daemon)) for _ in range(2))
        tunnel_peer = tunnel(tunnelled, upstream)
        kept.sendall(_KEPT)
        peer = upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert kept.recv(65536).endswith(b"ok")
        keep_certificates(daemon, OTHER)
        daemon.configure({HOST: upstream.port, OTHER: 1}, acme=NO_CA, workers=number, drain="3s")
        reload(daemon)
        exchange(kept, peer)  # the same connections on both sides
        tunnel_peer.send(b"still")
        assert tunnelled.recv(1000) == b"still"
        tunnelled.sendall(b"here")
        assert tunnel_peer.exactly(4) == b"here"
    assert daemon.stop() == 0


class Refusing:
    """Takes connections and closes them; counts."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._sock.accept()[0].close()
                self.count += 1

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    one = Refusing()
    yield one
    one.close()


def test_an_upstream_that_is_left_out_stays_so(daemon: DaemonProcess, upstream: Upstream, refusing: Refusing) -> None:
    hosts: dict[str, Any] = {HOST: {"upstream": [refusing.port, upstream.port], "balance": "round_robin"}}
    start_cached(daemon, hosts, workers=1)
    for _ in range(8):
        tls(daemon.https_port, HOST, get(HOST))
    out_at, count = time.monotonic(), refusing.count
    assert 3 <= count <= 4
    keep_certificates(daemon, OTHER)
    daemon.configure({**hosts, OTHER: 1}, acme=NO_CA, workers=1)
    reload(daemon)
    for _ in range(8):
        assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert time.monotonic() - out_at < 9, "this machine is too slow to tell"
    assert refusing.count == count
    assert daemon.stop() == 0


def test_no_handshake_fails_and_the_certificate_stays_during_a_storm(
    daemon: DaemonProcess, upstream: Upstream, number: int
) -> None:
    start_cached(daemon, {HOST: upstream.port}, workers=number)
    keep_certificates(daemon, OTHER)
    with connect(daemon) as first:
        leaf = first.getpeercert(binary_form=True)
    seen: list[object] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            try:
                with connect(daemon) as client:
                    seen.append(client.getpeercert(binary_form=True))
            except OSError as error:
                seen.append(repr(error))

    looking = [threading.Thread(target=look) for _ in range(2)]
    for one in looking:
        one.start()
    assert daemon.process is not None
    for turn in range(300):
        if turn % 50 == 0:
            more = {OTHER: upstream.port} if turn % 100 else {}
            daemon.configure({HOST: upstream.port, **more}, acme=NO_CA, workers=number)
        daemon.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    is_over.set()
    for one in looking:
        one.join()
    assert len(seen) > 20
    assert {*seen} == {leaf}
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_connections_to_an_address_that_is_left_end_when_they_are_idle(daemon: DaemonProcess, number: int) -> None:
    with RawUpstream() as upstream, contextlib.ExitStack() as clients:
        upstream.script = None
        start_cached(daemon, {HOST: upstream.port}, workers=number, drain="3s")
        idle, busy, tunnelled = (clients.enter_context(connect(daemon)) for _ in range(3))
        tunnel(tunnelled, upstream)
        busy.sendall(_KEPT)
        peer = upstream.accept()
        peer.head()
        left, daemon.https_port = daemon.https_port, free_port()
        daemon.configure({HOST: upstream.port}, acme=NO_CA, workers=number, drain="3s")
        reload(daemon)
        began = time.monotonic()
        assert idle.recv(100) == b""
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert busy.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert busy.recv(100) == b"", "it was the last on its connection"
        assert time.monotonic() - began < 3
        tunnelled.settimeout(10)
        assert tunnelled.recv(100) == b"", "cut at the end of the drain"
        with pytest.raises(ConnectionRefusedError):
            connect(daemon, left)
        connect(daemon).close()
    assert daemon.stop() == 0
