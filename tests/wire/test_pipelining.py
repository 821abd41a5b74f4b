"""Many requests on a connection, and who sends them without reading an answer."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import eventually
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import Peer, answer
from tests.support.wire import Wire, request

_NOT_OURS = b"GET / HTTP/1.1\r\nHost: not-ours.test\r\n\r\n"
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" * 10


def _open_files(wire: Wire) -> int:
    assert wire.daemon.process is not None
    return sum(1 for _ in Path(f"/proc/{wire.daemon.process.pid}/fd").iterdir())


@pytest.mark.parametrize(
    "one",
    [
        request(),
        request(method=b"HEAD"),
        _NOT_OURS,
        request(b"Content-Length: 3", method=b"POST", body=b"abc"),
        request(b"Content-Length: 3", method=b"POST", body=b"abc").replace(b"host.example", b"not-ours"),
    ],
    ids=["GET", "HEAD", "refused by us", "POST", "POST refused by us"],
)
def test_who_pipelines_and_does_not_read_is_made_to_wait(wire: Wire, one: bytes) -> None:
    """Also where we could answer all by ourselves."""
    wire.upstream.script = answer(_HINTS + b"HTTP/1.1 204 No Content\r\n\r\n")
    before = wire.daemon.rss_kib()
    with wire.client(receive_buffer=4096) as client:
        many = one * 5000
        client.socket.settimeout(1.0)
        sent, began = 0, time.monotonic()
        try:
            while sent < 100 << 20 and time.monotonic() - began < 5.0:
                sent += client.socket.send(many)
        except (TimeoutError, OSError):
            pass
        assert wire.daemon.rss_kib() - before < 12 << 10, f"{sent} sent"
    files = _open_files(wire)
    eventually(lambda: _open_files(wire) <= files, seconds=5.0)


def test_answers_to_pipelined_requests_do_not_mix(wire: Wire) -> None:
    def script(peer: Peer) -> None:
        one = peer.request()
        time.sleep(0.02 if one.target.endswith(b"0") else 0)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(one.target), one.target))

    wire.upstream.script = script
    clients = [wire.client() for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(b"".join(request(target=b"/%d/%d" % (number, at)) for at in range(30)))
    for number, client in enumerate(clients):
        assert [client.answer().body for _ in range(30)] == [b"/%d/%d" % (number, at) for at in range(30)]
        client.close()


def test_a_body_and_the_next_request_in_one_piece(wire: Wire) -> None:
    two = request(b"Transfer-Encoding: chunked", method=b"POST", target=b"/a", body=b"5\r\nhello\r\n0\r\n\r\n")
    two += request(b"Content-Length: 5", method=b"PUT", target=b"/b", body=b"world") + request(target=b"/c")
    for cut in range(0, len(two), 13):
        with wire.client() as client:
            client.send(two[:cut], two[cut:], pause=0.001)
            assert [client.answer().body for _ in range(3)] == [b"POST /a hello", b"PUT /b world", b"GET /c "]


def test_a_request_refused_by_us_with_a_body_spoils_nothing(wire: Wire) -> None:
    """Its body is read away, or the connection ends: it is never a request."""
    with wire.client() as client:
        body = request(target=b"/smuggled")
        client.send(b"POST / HTTP/1.1\r\nHost: not-ours.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert client.answer().status == 421
        client.send(request(target=b"/next"))
        assert client.some(seconds=4.0).split(b"\r\n")[0] in (b"HTTP/1.1 200 OK", b"")
    assert set(wire.upstream.targets()) <= {b"/next"}


def _stale(first: bytes) -> Callable[[Peer], None]:
    """Return a script: a connection serves one request, and to the next one says `first` and closes."""
    served: set[int] = set()

    def script(peer: Peer) -> None:
        peer.request()
        if peer.number in served:
            peer.send(first)
            peer.close()
            return
        served.add(peer.number)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return script


def test_a_request_is_not_sent_again_when_an_answer_has_begun(wire: Wire) -> None:
    wire.upstream.script = _stale(b"HTTP/1.1 2")
    with wire.client() as client:
        client.send(request(target=b"/a"))
        assert client.answer().status == 200
        client.send(request(target=b"/b"))
        assert client.answer().status == 502
    assert wire.upstream.targets() == [b"/a", b"/b"]


def test_a_request_is_sent_again_once(wire: Wire) -> None:
    wire.first()

    def script(peer: Peer) -> None:
        peer.request()
        peer.close()

    wire.upstream.script = script
    assert wire.get(b"/b").status == 502
    assert wire.upstream.targets() == [b"/first", b"/b", b"/b"]


def test_an_upstream_of_http_1_0_is_not_asked_again_on_its_connection(wire: Wire) -> None:
    """Unless it says keep-alive."""
    wire.upstream.script = answer(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    for _ in range(2):
        assert wire.get().body == b"ok"
    assert len(wire.upstream.peers) == 2
    wire.upstream.reset()
    wire.upstream.script = answer(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    for _ in range(2):
        assert wire.get().body == b"ok"
    assert len(wire.upstream.peers) == 1


def _hang(peer: Peer) -> None:
    peer.request()
    peer.wait_for_bytes()


def _goodbye(client: RawClient) -> None:
    client.say_goodbye()


@pytest.mark.parametrize("how", [RawClient.close, RawClient.reset, _goodbye], ids=["end", "reset", "close_notify"])
def test_who_leaves_in_the_second_request_is_missed(wire: Wire, how: Callable[[RawClient], None]) -> None:
    """In the first one tickets are unread, and the kernel sends a reset whatever the client does."""
    client = wire.client()
    client.send(request())
    assert client.answer().status == 200
    (peer,) = wire.upstream.peers
    wire.upstream.script = _hang
    client.send(request(target=b"/hang"))
    eventually(lambda: b"/hang" in peer.received, seconds=2.0)
    how(client)
    assert peer.has_ended(1.0)
    client.close()


def test_an_early_answer_leaves_nothing_open_though_the_upstream_reads_no_more(wire: Wire) -> None:
    wire.upstream.script = None
    before = _open_files(wire)
    with wire.client() as client:
        client.send(request(b"Content-Length: 100000000", method=b"POST"))
        peer = wire.upstream.accept()
        client.socket.settimeout(0.5)
        try:
            for _ in range(1600):
                client.socket.send(bytes(1 << 16))
        except TimeoutError:
            pass
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert client.answer().status == 413
    eventually(lambda: _open_files(wire) <= before, seconds=6.0)
