"""Upgrades: after the upstream's 101, and only then, bytes pass both ways as they are."""

import contextlib
import hashlib
import threading

import pytest

from tests.support.daemon import eventually
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import Ended, Peer, answer
from tests.support.wire import SMUGGLED, Wire, cases, request

_WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Protocol: a, b",
    b"Sec-WebSocket-Extensions: permessage-deflate",
    b"Origin: https://host.example.test",
)
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\n\r\n"
)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _tunnel(wire: Wire, client: RawClient) -> Peer:
    wire.upstream.script = None
    client.send(request(*_WEBSOCKET, target=b"/socket"))
    peer = wire.upstream.accept()
    peer.head()
    peer.send(_SWITCH)
    assert client.answer().status == 101
    return peer


def test_the_upgrade_is_asked_for_and_granted_to_the_byte(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(*_WEBSOCKET, target=b"/socket"))
        peer = wire.upstream.accept()
        head = peer.head()
        for line in _WEBSOCKET[2:]:
            assert b"\r\n" + line + b"\r\n" in head
        assert head.lower().count(b"\r\nupgrade: websocket\r\n") == 1
        assert head.lower().count(b"\r\nconnection: upgrade\r\n") == 1
        assert head.startswith(b"GET /socket HTTP/1.1\r\n")
        assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head
        assert client.is_silent(0.1)
        peer.send(_SWITCH)
        seen = client.answer()
        assert seen.first == b"HTTP/1.1 101 Switching Protocols"
        assert seen.value(b"Upgrade") == b"websocket"
        assert seen.value(b"Connection").lower() == b"upgrade"
        assert seen.value(b"Sec-WebSocket-Accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert seen.value(b"Sec-WebSocket-Protocol") == b"b"
        assert not seen.values(b"Content-Length") + seen.values(b"Transfer-Encoding") + seen.values(b"Date")


def test_bytes_pass_as_they_are_both_ways(wire: Wire) -> None:
    """Whatever they look like: frames, requests, chunks."""
    parts = [bytes(range(256)), b"\x81\x85\x00\x00\x00\x00hello", b"\x89\x00", b"0\r\n\r\n", SMUGGLED, _OK, b"\x88\x00"]
    with wire.client() as client:
        peer = _tunnel(wire, client)
        for part in parts:
            client.send(part)
            assert peer.exactly(len(part)) == part
            peer.send(part)
            assert client.exactly(len(part)) == part
        for byte in b"byte by byte":
            client.send(bytes([byte]))
            assert peer.exactly(1) == bytes([byte])


def test_bytes_that_come_with_the_heads_are_not_lost(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(*_WEBSOCKET) + b"early")
        peer = wire.upstream.accept()
        peer.head()
        assert peer.is_idle(0.1), "before 101 they are nobody's"
        peer.send(_SWITCH + b"\x81\x02hi")
        assert client.answer().status == 101
        assert client.exactly(4) == b"\x81\x02hi"
        assert peer.exactly(5) == b"early"


@pytest.mark.parametrize("token", [b"websocket", b"WebSocket", b"foo/1.2", b"spdy"])
def test_any_protocol_may_be_switched_to(wire: Wire, token: bytes) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Connection: keep-alive, upgrade", b"Upgrade: " + token))
        peer = wire.upstream.accept()
        assert b"\r\nupgrade: " + token.lower() in peer.head().lower()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n" % token)
        assert client.answer().status == 101
        client.send(b"x")
        assert peer.exactly(1) == b"x"


def test_much_passes_intact_both_ways_at_once(wire: Wire) -> None:
    block, count = hashlib.sha512(b"x").digest() * 4096, 80  # 20 MB each way
    with wire.client() as client:
        peer = _tunnel(wire, client)
        client.socket.settimeout(30)
        up = threading.Thread(target=client.socket.sendall, args=(block * count,))
        up.start()
        got = hashlib.sha256()
        for _ in range(count):  # TLS for one direction at a time: first up, then down
            got.update(peer.exactly(len(block)))
        up.join()
        down = threading.Thread(target=lambda: peer.send(*[block] * count))
        down.start()
        size, come = 0, hashlib.sha256()
        while size < len(block) * count:
            data = client.some()
            size += len(data)
            come.update(data)
        down.join()
    assert got.digest() == come.digest() == hashlib.sha256(block * count).digest()


def test_a_tunnel_to_who_does_not_read_is_bounded(wire: Wire) -> None:
    before = wire.daemon.rss_kib()
    with wire.client(receive_buffer=65536) as client:
        peer = _tunnel(wire, client)
        stuffed = threading.Thread(target=_stuff, args=(peer,))
        stuffed.start()
        client.socket.settimeout(0.7)
        with pytest.raises(TimeoutError):
            client.socket.sendall(bytes(100 << 20))
        assert wire.daemon.rss_kib() - before < 4 << 10
    # Nobody reads what is left: it must not be waited for.
    stuffed.join(9.0)
    assert not stuffed.is_alive()


def _stuff(peer: Peer) -> None:
    with contextlib.suppress(Ended):  # however it ends when the client leaves
        peer.send(bytes(100 << 20))


@pytest.mark.parametrize("how", ["close", "reset"])
def test_when_the_client_leaves_a_tunnel_the_upstream_knows(wire: Wire, how: str) -> None:
    client = wire.client()
    peer = _tunnel(wire, client)
    client.send(b"last words")
    assert peer.exactly(10) == b"last words"
    if how == "close":
        client.close()
    else:
        client.reset()
    assert peer.has_ended(1.0)


def test_what_the_client_said_last_arrives(wire: Wire) -> None:
    client = wire.client()
    peer = _tunnel(wire, client)
    client.send(bytes(300_000))
    client.close()
    assert peer.exactly(300_000) == bytes(300_000)
    assert peer.has_ended(1.0)


def test_what_the_upstream_said_last_arrives(wire: Wire) -> None:
    with wire.client() as client:
        peer = _tunnel(wire, client)
        peer.send(bytes(300_000) + b"last words")
        peer.close()
        assert client.exactly(300_010)[-10:] == b"last words"
        assert client.has_ended(1.0)


def test_when_the_upstream_is_reset_the_client_knows(wire: Wire) -> None:
    with wire.client() as client:
        peer = _tunnel(wire, client)
        peer.reset()
        assert client.has_ended(1.0)


def test_an_upstream_that_ends_its_half_has_said_all(wire: Wire) -> None:
    """There is no half-closed TLS worth the name: as with nginx's tunnels the other half ends soon, with all bytes."""
    with wire.client() as client:
        peer = _tunnel(wire, client)
        peer.send(b"last words")
        peer.end()
        assert client.exactly(10) == b"last words"
        assert client.has_ended(1.0)
        assert peer.has_ended(1.0)


@cases(
    ("200", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("400", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nok"),
    ("426 with its Upgrade", b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
     b"Sec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nok"),
    ("chunked", b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
)  # fmt: skip
def test_a_refused_upgrade_is_an_ordinary_answer(wire: Wire, attack: bytes) -> None:
    """What the client sends then is a request for us, never bytes for the upstream (WebSocket smuggling)."""
    wire.upstream.script = answer(attack)
    with wire.client() as client:
        client.send(request(*_WEBSOCKET, target=b"/a"))
        seen = client.answer()
        assert (seen.status, seen.body) == (int(attack.split(b" ")[1]), b"ok")
        if b"426" in attack.split(b"\r\n")[0]:
            assert seen.value(b"Upgrade") == b"websocket"
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: not-ours.test\r\n\r\n")
        data = client.some(seconds=2.0)
        assert data == b"" or data.startswith(b"HTTP/1.1 421")
    assert wire.upstream.targets() == [b"/a"]


def test_a_refused_upgrade_keeps_the_connection(wire: Wire) -> None:
    with wire.client() as client:
        for _ in range(3):
            client.send(request(*_WEBSOCKET, target=b"/a"))
            assert client.answer().body == b"GET /a "
            client.send(request(target=b"/b"))
            assert client.answer().body == b"GET /b "
    assert len(wire.upstream.peers) == 1


def test_a_tunnel_is_used_by_nobody_else(wire: Wire) -> None:
    with wire.client() as client:
        peer = _tunnel(wire, client)
    assert peer.has_ended(1.0)
    wire.upstream.reset()
    wire.victim()


@cases(
    ("without Connection", b"Upgrade: websocket"),
    ("Connection names another", b"Connection: keep-alive\r\nUpgrade: websocket"),
    ("Connection alone", b"Connection: Upgrade"),
    ("Connection quotes it", b'Connection: "upgrade"\r\nUpgrade: websocket'),
    ("h2c, which is not for TLS (RFC 9113 §3.1)", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
     b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    ("h2c among others", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\n"
     b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    ("h2", b"Connection: Upgrade\r\nUpgrade: h2"),
    ("HTTP/2.0", b"Connection: Upgrade\r\nUpgrade: HTTP/2.0"),
    ("TLS", b"Connection: Upgrade\r\nUpgrade: TLS/1.2"),
)  # fmt: skip
def test_what_is_no_wish_to_upgrade_or_not_ours_to_grant_is_not_passed_on(wire: Wire, attack: bytes) -> None:
    wire.first()
    with wire.client() as client:
        client.send(request(attack, target=b"/a"))
        assert client.answer().status in (200, 400, 501)
    wire.victim()
    for one in wire.upstream.requests():
        assert b"h2c" not in b"".join(one.values(b"Upgrade"))
        assert not one.values(b"HTTP2-Settings")
        if b"among" not in attack:
            assert not [value for value in one.values(b"Upgrade") if value != b"websocket" or b"h2c" not in attack]


def test_an_upgrade_in_http_1_0_is_ignored(wire: Wire) -> None:
    """RFC 9110 §7.8: a server must."""
    with wire.client() as client:
        client.send(request(*_WEBSOCKET, target=b"/a").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.answer().body == b"GET /a "
    (seen,) = wire.upstream.requests()
    assert not seen.values(b"Upgrade")


@cases(
    ("length", request(*_WEBSOCKET, b"Content-Length: %d" % len(SMUGGLED), method=b"POST", target=b"/a",
                       body=SMUGGLED)),
    ("chunked", request(*_WEBSOCKET, b"Transfer-Encoding: chunked", method=b"POST", target=b"/a",
                        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))),
    ("two lengths", request(*_WEBSOCKET, b"Content-Length: 0", b"Content-Length: 5", method=b"POST", body=b"hello")),
)  # fmt: skip
def test_the_body_of_an_upgrade_is_its_body_or_it_is_refused(wire: Wire, attack: bytes) -> None:
    wire.first()
    with wire.client() as client:
        client.send(attack)
        assert client.answer().status in (200, 400)
    wire.victim()
    assert set(wire.upstream.targets()) <= {b"/first", b"/a", b"/victim"}


@cases(
    ("another protocol than was asked for", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    ("no protocol", b""),
    ("a length", b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n"),
    ("a coding", b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n"),
)
def test_a_101_that_is_not_what_was_asked_for_opens_no_false_tunnel(wire: Wire, attack: bytes) -> None:
    """502; framing lines, which have no meaning there (RFC 9110 §8.6), may be dropped instead."""
    wire.upstream.script = answer(b"HTTP/1.1 101 Switching Protocols\r\n" + attack + b"\r\nhello")
    with wire.client() as client:
        client.send(request(*_WEBSOCKET))
        seen = client.answer()
        if b"websocket" in attack and seen.status == 101:
            assert not seen.values(b"Content-Length") + seen.values(b"Transfer-Encoding")
            assert client.exactly(5) == b"hello"
        else:
            assert seen.status == 502


def test_1xx_may_come_before_the_switch(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(*_WEBSOCKET))
        peer = wire.upstream.accept()
        peer.head()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _SWITCH)
        assert [client.answer().status for _ in range(2)] == [103, 101]
        client.send(b"x")
        assert peer.exactly(1) == b"x"


def test_a_tunnel_survives_a_reload(wire: Wire) -> None:
    with wire.client() as client:
        peer = _tunnel(wire, client)
        before = wire.daemon.log().count("reloaded")
        wire.daemon.reload()
        eventually(lambda: wire.daemon.log().count("reloaded") > before, what=wire.daemon.log)
        client.send(b"x")
        assert peer.exactly(1) == b"x"
        peer.send(b"y")
        assert client.exactly(1) == b"y"
