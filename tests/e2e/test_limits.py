"""Each limit on the real daemon: what the client is told, and that exactly its own counter rises by one."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

import pytest

from pebble.server import free_port
from proxyd.core.counters import Limit
from tests.support.cached import get, start_cached, status
from tests.support.daemon import DaemonProcess, eventually
from tests.support.raw_upstream import Ended, Peer, RawUpstream
from tests.support.scrape import rising

HOST, SMALL, FULL, FAR, CALM = (f"{one}.example.test" for one in ("one", "small", "full", "far", "calm"))
BALANCER, MANY = "127.0.0.2", "127.0.0.3"
_OF_ONE, _OF_ALL = 4, 12
_LIMITS, _HANDSHAKES = "proxyd_limits_hit_total", "proxyd_handshakes_total"
_UPGRADE = ("Connection: upgrade", "Upgrade: x")


@dataclass
class Limited:
    """A daemon with small limits, what is behind it, and where it tells its counts."""

    daemon: DaemonProcess
    upstream: RawUpstream
    port: int

    @contextlib.contextmanager
    def connected(self, host: str = HOST, *, source: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            self.raw(source=source) as sock,
            context.wrap_socket(sock, server_hostname=host, suppress_ragged_eofs=True) as client,
        ):
            yield client

    def wait_for(self, condition: Callable[[Peer], bool]) -> None:
        """Wait until it holds for a connection to the upstream."""
        eventually(lambda: any(condition(peer) for peer in [*self.upstream.peers]), what=self.daemon.log)

    def raw(self, *, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.daemon.https_port), 30, source_address=(source, 0))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    daemon, port = DaemonProcess(tmp_path_factory.mktemp("limits")), free_port()
    with RawUpstream() as upstream, silence() as silent:
        upstream.script = _script
        second = dict.fromkeys(("header", "idle", "keepalive", "response", "tunnel", "connect"), "1s")
        patient = {**second, "response": "60s"}
        start_cached(
            daemon,
            {
                HOST: {"upstream": upstream.port, "timeouts": second},
                SMALL: {"upstream": upstream.port, "max_body": 10, "timeouts": patient},
                FULL: {"upstream": f"localhost:{upstream.port}", "max_upstream_connections": 1, "timeouts": patient},
                FAR: {"upstream": silent, "timeouts": second},
                CALM: upstream.port,  # a client may take its time
            },
            listen={
                "https": f"127.0.0.1:{daemon.https_port}",
                "http": f"127.0.0.1:{daemon.http_port}",
                "proxy_protocol": [BALANCER],
            },
            limits={
                "max_header": "4KiB",
                "max_header_count": 10,
                "max_uri": 100,
                "max_connections": _OF_ALL,
                "max_connections_per_ip": _OF_ONE,
            },
            admin={"listen": f"127.0.0.1:{port}"},
        )
        yield Limited(daemon, upstream, port)
        assert daemon.stop() == 0


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """Give a port that answers no more connections: its queue is full."""
    with socket.socket() as server, contextlib.ExitStack() as waiting:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def _script(peer: Peer) -> None:
    target = peer.head().split(b" ")[1]
    if target == b"/half":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        peer.has_ended(20)
    elif target == b"/tunnel":
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        peer.has_ended(20)
    elif target == b"/large":
        with contextlib.suppress(Ended):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n", *[bytes(1 << 20)] * 190)
    elif target == b"/waits":
        peer.has_ended(20)
    else:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def _rest(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            received += data
    return received


def request(*lines: str, host: str = HOST, target: str = "/", body: str = "") -> bytes:
    """Return a request on a connection that stays; with a body a POST."""
    method = "POST" if body else "GET"
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", body]).encode()


def _asked(host: str, sent: bytes) -> Callable[[Limited], int]:
    """Return what sends bytes and returns the status of the answer; 0: the connection ended without."""

    def ask(limited: Limited) -> int:
        with limited.connected(host) as client:
            client.sendall(sent)
            return status(_rest(client))

    return ask


def _takes_nothing(limited: Limited) -> int:
    with limited.connected() as client:
        client.sendall(request(target="/large"))
        limited.wait_for(lambda peer: b"/large" in peer.received and bool(peer.how_it_ended))
        return 0


CASES: dict[str, tuple[str, Callable[[Limited], int], int]] = {
    "head": ("max_header", _asked(HOST, get(HOST, "X: " + "y" * 4096)), 431),
    "endless head": ("max_header", _asked(HOST, b"GET / HTTP/1.1\r\nX: " + b"y" * 5000), 431),
    "fields": ("max_header_count", _asked(HOST, get(HOST, *("X: y",) * 10)), 431),
    "target": ("max_uri", _asked(HOST, get(HOST, path="/" + "x" * 100)), 414),
    "endless target": ("max_uri", _asked(HOST, b"GET /" + b"x" * 500), 414),
    "length": ("max_body", _asked(SMALL, request("Content-Length: 11", host=SMALL, body="x" * 11)), 413),
    "chunks": (
        "max_body",
        _asked(SMALL, request("Transfer-Encoding: chunked", host=SMALL, target="/waits", body="b\r\n01234567890\r\n")),
        413,
    ),
    "no head": ("header_timeout", _asked(HOST, b""), 0),
    "half a head": ("header_timeout", _asked(HOST, b"GET / HTTP/1.1\r\nHo"), 408),
    "no second request": ("keepalive_timeout", _asked(HOST, request()), 200),
    "half a body": ("idle_timeout", _asked(HOST, request("Content-Length: 9", target="/waits", body="x")), 408),
    "takes nothing": ("idle_timeout", _takes_nothing, 0),
    "half an answer": ("idle_timeout", _asked(HOST, request(target="/half")), 200),
    "no answer": ("response_timeout", _asked(HOST, get(HOST, path="/waits")), 504),
    "tunnel": ("tunnel_timeout", _asked(HOST, request(*_UPGRADE, target="/tunnel")), 101),
    "no connection": ("connect_timeout", _asked(FAR, get(FAR)), 504),
}


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_told_and_counted(limited: Limited, name: str) -> None:
    limit, act, told = CASES[name]
    with rising(limited.port, _LIMITS, **{limit: 1}):
        assert act(limited) == told


def test_requests_of_an_upstream(limited: Limited) -> None:
    with limited.connected(FULL) as first:
        first.sendall(request(host=FULL, target="/waits"))
        limited.wait_for(lambda peer: FULL.encode() in peer.received)
        with rising(limited.port, _LIMITS, max_upstream_connections=1), limited.connected(FULL) as second:
            second.sendall(get(FULL))
            answer = _rest(second)
            assert status(answer) == 503
            assert b"\r\nRetry-After: 1\r\n" in answer


def test_connections_of_one_address(limited: Limited) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(_OF_ONE):
            held.enter_context(limited.connected(CALM, source=MANY))
        with rising(limited.port, _LIMITS, max_connections_per_ip=1), limited.raw(source=MANY) as one:
            assert _rest(one) == b""
            held.close()  # before their own time is over


def test_connections_of_all(limited: Limited) -> None:
    with contextlib.ExitStack() as held, rising(limited.port, _LIMITS, max_connections=1):
        for number in range(_OF_ALL):
            held.enter_context(limited.connected(CALM, source=f"127.0.1.{1 + number // _OF_ONE}"))
        with limited.raw(source=MANY) as one:
            assert _rest(one) == b""
        held.close()


def test_who_does_not_begin(limited: Limited) -> None:
    """All three at once: each waits as long as it may."""
    hello = ssl.MemoryBIO()
    begun = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        begun.do_handshake()
    with (
        rising(limited.port, _LIMITS, proxy_header_timeout=1, hello_timeout=1, handshake_timeout=1),
        rising(limited.port, _HANDSHAKES, timeout=2),
        limited.raw(source=BALANCER) as unannounced,
        limited.raw() as silent,
        limited.raw() as half,
    ):
        half.sendall(hello.read())
        assert _rest(unannounced) == _rest(silent) == b""
        assert _rest(half)[:1] == b"\x16"  # what we said, and the end


def test_no_limit_is_left_out_here() -> None:
    elsewhere = {"max_connections", "max_connections_per_ip", "max_upstream_connections"}
    elsewhere |= {"proxy_header_timeout", "hello_timeout", "handshake_timeout", "client_allow"}
    elsewhere |= {"basic_auth", "rate_limit"}
    elsewhere |= {limit for limit in get_args(Limit) if limit.startswith("http2_")}  # tests/wire/test_h2_attacks.py
    assert {limit for limit, _, _ in CASES.values()} | elsewhere == set(get_args(Limit))
