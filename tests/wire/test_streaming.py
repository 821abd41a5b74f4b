"""Bytes move when they come, in both directions, and who leaves is missed by the other side within a second."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.raw_client import RawClient
from tests.support.raw_upstream import Peer, answer
from tests.support.wire import LINGERING, Wire, request

_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _asked(wire: Wire, client: RawClient, *lines: bytes, method: bytes = b"GET", body: bytes = b"") -> Peer:
    """Send a request, and return who got it, with its head read."""
    wire.upstream.script = None
    client.send(request(*lines, method=method, body=body))
    peer = wire.upstream.accept()
    peer.head()
    return peer


def test_an_event_is_flushed_at_once(wire: Wire) -> None:
    with wire.client() as client:
        peer = _asked(wire, client)
        peer.send(_CHUNKED)
        assert client.head(seconds=0.5).startswith(b"HTTP/1.1 200 OK")
        for number in range(20):
            event = b"data: %02d\n\n" % number
            began = time.monotonic()
            peer.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert client.exactly(len(event) + 5, seconds=0.5) == b"%x\r\n%b\r\n" % (len(event), event)
            assert time.monotonic() - began < 0.3
        peer.send(b"0\r\n\r\n")
        assert client.exactly(5) == b"0\r\n\r\n"


def test_a_head_is_flushed_before_its_body(wire: Wire) -> None:
    for head in (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", _CHUNKED):
        with wire.client() as client:
            peer = _asked(wire, client)
            peer.send(head)
            assert client.head(seconds=0.5).startswith(b"HTTP/1.1 200 OK")
            peer.close()
        wire.upstream.reset()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_trickle_is_passed_on_byte_by_byte(wire: Wire, head: bytes) -> None:
    with wire.client() as client:
        peer = _asked(wire, client)
        peer.send(head)
        client.head()
        for number in range(50):
            peer.send(b"%d" % (number % 10))
            assert b"%d" % (number % 10) in client.some(seconds=0.5)


def test_a_request_body_is_flushed_at_once(wire: Wire) -> None:
    with wire.client() as client:
        peer = _asked(wire, client, b"Content-Length: 50", method=b"POST")
        for number in range(50):
            client.send(b"%d" % (number % 10))
            assert peer.exactly(1) == b"%d" % (number % 10)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.answer().status == 200


def test_the_head_of_a_request_does_not_wait_for_its_body(wire: Wire) -> None:
    with wire.client() as client:
        began = time.monotonic()
        _asked(wire, client, b"Content-Length: 50", method=b"POST")
        assert time.monotonic() - began < 0.5


def test_many_streams_at_once(wire: Wire) -> None:
    wire.upstream.script = answer(_CHUNKED, *[b"1\r\nx\r\n"] * 10, b"0\r\n\r\n", pause=0.02)
    clients = [wire.client() for _ in range(30)]
    for client in clients:
        client.send(request())
    for client in clients:
        assert client.answer().body == b"x" * 10
        client.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", ["before the head", "after the head", "within the body", "while it uploads"])
def test_when_the_client_leaves_the_upstream_knows_within_a_second(wire: Wire, when: str, how: str) -> None:
    client = wire.client()
    if when == "while it uploads":
        peer = _asked(wire, client, b"Content-Length: 50", method=b"POST", body=b"hello")
        peer.exactly(5)
    else:
        peer = _asked(wire, client)
    if when in ("after the head", "within the body"):
        peer.send(_CHUNKED)
        client.head()
    if when == "within the body":
        peer.send(b"5\r\nhello\r\n")
        client.some()
    if how == "close":
        client.close()
    else:
        client.reset()
    assert peer.has_ended(1.0)


def test_when_the_client_leaves_after_a_whole_answer_the_upstream_keeps_its_connection(wire: Wire) -> None:
    wire.victim()
    (peer,) = wire.upstream.peers
    assert peer.is_idle(0.2)
    wire.victim()
    assert len(wire.upstream.peers) == 1


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", _CHUNKED])
def test_when_the_upstream_leaves_the_client_knows_within_a_second(wire: Wire, head: bytes, end: str) -> None:
    with wire.client() as client:
        peer = _asked(wire, client)
        peer.send(head)
        client.head()
        peer.send(b"5\r\nhello\r\n")
        client.some()
        if end == "close":
            peer.close()
        else:
            peer.reset()
        assert client.has_ended(1.0)


def test_when_the_upstream_leaves_an_upload_the_client_knows_within_a_second(wire: Wire) -> None:
    with wire.client() as client:
        peer = _asked(wire, client, b"Content-Length: 50000000", method=b"POST", body=b"hello")
        peer.exactly(5)
        peer.reset()
        assert client.answer(seconds=1.0).status == 502
        assert client.has_ended(LINGERING)


def test_a_client_that_sends_its_end_is_gone_as_for_nginx(wire: Wire) -> None:
    """TLS has no half-closed connections worth the name: the upstream need not work for nobody."""
    client = wire.client()
    peer = _asked(wire, client)
    client.socket.settimeout(0.1)
    client.close()
    assert peer.has_ended(1.0)


SIZE = 200 << 20
_BLOCK = bytes(1 << 20)


def test_a_download_to_a_client_that_does_not_read_is_bounded(wire: Wire) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // len(_BLOCK)):
            peer.send(_BLOCK)

    wire.upstream.script = script
    before = wire.daemon.rss_kib()
    clients = [wire.client(receive_buffer=65536) for _ in range(4)]
    for client in clients:
        client.send(request())
    sent, still = -1, 0
    while still < 5:  # until nobody can send any more
        time.sleep(0.1)
        now = sum(peer.sent for peer in wire.upstream.peers)
        sent, still = now, still + 1 if now == sent else 0
    assert sent < 4 * (100 << 20)  # what is not in our memory is in the kernel's
    assert wire.daemon.rss_kib() - before < 4 * (4 << 10)
    for client in clients:
        client.close()
    assert all(peer.has_ended(2.0) for peer in wire.upstream.peers)


def test_a_download_to_a_slow_client_is_whole(wire: Wire) -> None:
    size = 8 << 20

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, *[_BLOCK] * (size >> 20))

    wire.upstream.script = script
    with wire.client(receive_buffer=65536) as client:
        client.send(request())
        time.sleep(0.5)
        for _ in range(2):  # the connection to the upstream reads again
            client.head()
            left = size
            while left:
                left -= len(client.some())
            client.send(request())


def test_a_last_answer_that_is_taken_late_is_whole(wire: Wire) -> None:
    """Wherever it lies, in our buffers or the kernel's, while the connection is being closed."""

    def script(peer: Peer) -> None:
        size = int(peer.request().target[1:])
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, bytes(size))

    def late(size: int) -> int:
        with wire.client(receive_buffer=16384) as client:
            client.send(request(b"Connection: close", target=b"/%d" % size))
            time.sleep(6.0)
            return len(client.answer().body)

    wire.upstream.script = script
    sizes = range(3_400_000, 4_200_000, 40_000)  # about what Linux's largest buffer for sending holds (tcp_wmem)
    with ThreadPoolExecutor(len(sizes)) as pool:
        assert list(pool.map(late, sizes)) == list(sizes)


def test_an_upload_to_an_upstream_that_does_not_read_is_bounded(wire: Wire) -> None:
    wire.upstream.script = None
    before = wire.daemon.rss_kib()
    with wire.client() as client:
        client.send(request(b"Content-Length: %d" % SIZE, method=b"POST"))
        peer = wire.upstream.accept()
        sent = 0
        client.socket.settimeout(0.7)
        try:
            while sent < SIZE:
                sent += client.socket.send(_BLOCK[: 1 << 16])
        except TimeoutError:
            pass
        assert sent < 100 << 20
        assert wire.daemon.rss_kib() - before < 4 << 10
    assert peer.has_ended(2.0)


def test_an_upload_to_a_slow_upstream_is_whole(wire: Wire) -> None:
    wire.upstream.script = None
    size = 12 << 20
    with wire.client() as client:
        client.socket.settimeout(20)
        sender = threading.Thread(
            target=client.socket.sendall,
            args=(request(b"Content-Length: %d" % size, method=b"POST", body=bytes(size)),),
        )
        sender.start()
        peer = wire.upstream.accept()
        peer.head()
        time.sleep(0.5)
        assert peer.exactly(size) == bytes(size)
        sender.join()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.answer().status == 200
