"""Who does not do its part over HTTP/2 ends soon, whichever part it is."""

import contextlib
import time
from typing import Any

import pytest

from tests.support.daemon import eventually
from tests.support.h2_client import CALM, CANCEL, DATA, HEADERS, PREFACE, Answer, H2Client, frame, window_update
from tests.support.raw_client import RawClient, Truncated
from tests.support.raw_upstream import Peer, answer
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    return {"timeouts": {"header": "1s", "idle": "1s", "keepalive": "1s", "response": "2s", "tunnel": "1s"}}


def _ends(client: H2Client, code: int = 0) -> None:
    """The client is told, with the error code, and then there is no connection."""
    while not client.goaways:
        client.step(seconds=5.0)
    assert client.goaways[-1][1] == code
    assert client.raw.has_ended(3.0)


def test_who_says_nothing(wire: Wire) -> None:
    raw = RawClient(wire.daemon.https_port, wire.h2_context, "host.example.test")
    with raw:
        raw.rest(seconds=5.0)
        assert raw.how_it_ended == "closed"


def test_who_asks_nothing(wire: Wire) -> None:
    with wire.h2_client() as client:
        _ends(client)


def test_who_only_pings(wire: Wire) -> None:
    began = time.monotonic()
    with wire.h2_client() as client:
        with contextlib.suppress(Truncated):
            while time.monotonic() - began < 5.0:
                client.settle()
                time.sleep(0.05)
        assert client.goaways == [(0, 0)]


def test_who_is_idle_after_an_answer(wire: Wire) -> None:
    with wire.h2_client() as client:
        assert client.asks().status == 200
        _ends(client)


def test_a_head_that_does_not_end(wire: Wire) -> None:
    with wire.h2_client() as client:
        client.acknowledges = False
        client.send(frame(HEADERS, 0, 1, b"\x82"))
        assert client.error(seconds=5.0) == CALM


def test_a_body_that_stops(wire: Wire) -> None:
    with wire.h2_client() as client:
        stream = client.post("/", b"x", ends=False, more=[("content-length", "10")])
        one = client.answer(stream, seconds=5.0)
        assert one.status == 408
        assert client.asks().status == 200


def test_a_download_that_is_not_taken(wire: Wire) -> None:
    def large(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))

    wire.upstream.script = large
    with wire.h2_client(window=1000) as client:
        assert client.answer(client.get(), seconds=5.0).reset == CANCEL


def test_a_download_that_moves_is_not_cut(wire: Wire) -> None:
    def large(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))

    wire.upstream.script = large
    with wire.h2_client(window=20_000) as client:
        stream = client.get()
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            client.send(window_update(stream, 1000))
            client.settle()
            time.sleep(0.3)
        client.send(window_update(stream, 100_000))
        assert len(client.answer(stream).body) == 100_000


def test_an_upstream_that_gives_no_answer(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        slow, peer = client.get("/slow"), wire.upstream.accept()
        peer.head()
        assert client.answer(slow, seconds=8.0).status == 504


def test_an_upload_that_nobody_takes(wire: Wire) -> None:
    wire.upstream.script = None
    wire.upstream.narrow(4096)
    with wire.h2_client() as client:
        stream = client.post("/", ends=False)
        peer = wire.upstream.accept()
        peer.head()
        sent = 0
        while True:
            room = min(131_072 + client.windows.get(stream, 0), 65_535 + client.windows.get(0, 0)) - sent
            if room >= 10_000:
                client.send(frame(DATA, 0, stream, bytes(10_000)))
                sent += 10_000
                continue
            client.step(seconds=8.0)
            if client.streams.setdefault(stream, Answer()).fields:
                break
        assert client.answer(stream).status == 504


def test_who_takes_nothing_although_it_asks_again(wire: Wire) -> None:
    """Answers lie in buffers: no request is under way, and a new one changes nothing in that."""
    wire.upstream.script = answer(b"HTTP/1.1 204 No Content\r\nX-Large: %b\r\n\r\n" % (b"a" * 8000))
    with wire.h2_client(receive_buffer=4096) as client:
        sock = client.raw.socket
        for _ in range(100):
            sock.sendall(client.head(client.fields("/204")))
            time.sleep(0.005)  # so that each is answered by itself
        eventually(lambda: len(wire.upstream.targets()) == 100)
        sock.sendall(client.head(client.fields("/204")))
        eventually(lambda: _is_gone(client), seconds=8.0)


def _is_gone(client: H2Client) -> bool:
    """Return whether nobody takes what is sent, without reading."""
    time.sleep(0.1)  # a reset shows at the second try, not at the first
    try:
        client.raw.socket.sendall(window_update(0, 1))
    except OSError:
        return True
    return False


def test_half_a_preface(wire: Wire) -> None:
    with RawClient(wire.daemon.https_port, wire.h2_context, "host.example.test") as raw:
        raw.send(PREFACE[:10])
        raw.rest(seconds=5.0)
        assert raw.how_it_ended == "closed"
