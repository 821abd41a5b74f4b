"""WebSockets over HTTP/2 (RFC 8441), to an upstream that speaks HTTP/1.1."""

import base64
import hashlib

import pytest

from tests.support.h2_client import CALM, DATA, END_STREAM, PROTOCOL_ERROR, H2Client, frame
from tests.support.raw_upstream import Peer
from tests.support.wire import Wire
from tests.support.wire_message import Message, requests

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _connect(client: H2Client, *more: tuple[str, str], protocol: str = "websocket") -> int:
    start = client.fields("/chat", "CONNECT")
    fields = [*start, (":protocol", protocol), ("sec-websocket-version", "13"), *more]
    client.send(client.head(fields, ends=False))
    return client.last


def _asked(peer: Peer) -> Message:
    (one,), rest = requests(peer.head())
    assert not rest
    return one


def _switch(peer: Peer, asked: Message, *, accept: bytes = b"") -> None:
    digest = base64.b64encode(hashlib.sha1(asked.value(b"Sec-WebSocket-Key") + _GUID).digest())
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: %b\r\n\r\n" % (accept or digest)
    )


def _tunnel(wire: Wire, client: H2Client) -> tuple[int, Peer]:
    stream = _connect(client)
    peer = wire.upstream.accept()
    _switch(peer, _asked(peer))
    return stream, peer


def _until(client: H2Client, stream: int, body: bytes) -> None:
    while client.streams[stream].body != body:
        client.step()


def test_bytes_pass_both_ways(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream = _connect(client, ("sec-websocket-key", "bm90IG91cnM="))
        client.send(frame(DATA, 0, stream, b"early"))  # waits for the other side's consent
        peer = wire.upstream.accept()
        asked = _asked(peer)
        assert (asked.method, asked.target) == (b"GET", b"/chat")
        assert (asked.value(b"Upgrade"), asked.value(b"Connection")) == (b"websocket", b"Upgrade")
        assert len(base64.b64decode(asked.value(b"Sec-WebSocket-Key"))) == 16
        assert peer.is_idle(0.1)
        _switch(peer, asked)
        while not client.streams.get(stream) or not client.streams[stream].fields:
            client.step()
        fields = dict(client.streams[stream].fields)
        assert fields == {":status": "200", "sec-websocket-protocol": "chat"}
        assert peer.exactly(5) == b"early"
        peer.send(b"\x81\x02hi")
        _until(client, stream, b"\x81\x02hi")
        for _ in range(600):  # small pieces are what a tunnel has
            client.send(frame(DATA, 0, stream, b"\x81\x80abcd"))
        assert peer.exactly(3600) == b"\x81\x80abcd" * 600
        peer.send(b"\x88\x00")
        peer.end()
        assert client.answer(stream).body == b"\x81\x02hi\x88\x00"


def test_a_tunnel_is_no_place_for_single_bytes(wire: Wire) -> None:
    """A client's frame of RFC 6455 has six bytes at least: less at a time is work for nothing."""
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream, peer = _tunnel(wire, client)
        while not client.streams.get(stream) or not client.streams[stream].fields:
            client.step()
        single = frame(DATA, 0, stream, b"x") * 200
        code = client.flood(iter(lambda: single, b""), most=600)
        assert (client.error() if code < 0 else code) == CALM  # it may still be reading
        assert peer.has_ended(5.0)


def test_who_ends_hears_the_last_words(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream, peer = _tunnel(wire, client)
        client.send(frame(DATA, END_STREAM, stream, b"\x88\x80abcd"))
        assert peer.exactly(6) == b"\x88\x80abcd"
        assert peer.has_ended(2.0)  # RFC 8441 §5
        peer.send(b"\x88\x00")
        peer.end()
        assert client.answer(stream).body == b"\x88\x00"


def test_a_tunnel_that_is_taken_back_ends_at_the_upstream(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream, peer = _tunnel(wire, client)
        client.send(frame(3, 0, stream, b"\0\0\0\x08"))
        assert peer.has_ended(5.0)


def test_another_answer_is_the_answer(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream = _connect(client)
        peer = wire.upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        one = client.answer(stream)
        assert (one.status, one.body) == (403, b"no")


def test_an_upstream_that_goes_on_with_http_is_no_tunnel(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream = _connect(client)
        peer = wire.upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        assert client.answer(stream).status == 502


def test_an_upstream_that_did_not_read_the_key_gets_no_tunnel(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream = _connect(client)
        peer = wire.upstream.accept()
        _switch(peer, _asked(peer), accept=b"bm90IG91cnM=")
        assert client.answer(stream).reset == 10
        assert peer.has_ended(5.0)


@pytest.mark.parametrize("protocol", ["h2c", "connect-udp", "http/1.1"])
def test_only_websockets_are_tunnelled(wire: Wire, protocol: str) -> None:
    with wire.h2_client() as client:
        assert client.answer(_connect(client, protocol=protocol)).status == 501
    assert wire.upstream.received() == []


def test_a_tunnel_has_no_length(wire: Wire) -> None:
    with wire.h2_client() as client:
        assert client.answer(_connect(client, ("content-length", "5"))).reset == PROTOCOL_ERROR
    assert wire.upstream.received() == []
