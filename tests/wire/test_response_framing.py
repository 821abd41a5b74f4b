"""How long an answer is: what is malformed reaches no client, what is cut never looks whole, nothing is the next's."""

import contextlib

import pytest

from tests.support.raw_client import Truncated
from tests.support.raw_upstream import Peer, answer
from tests.support.wire import Wire, cases, request

_POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"


def is_502(wire: Wire, reply: bytes, *, end: str = "") -> None:
    """The client gets 502, the upstream the end of its connection, and the next client its own answer."""
    wire.upstream.script = answer(reply + _POISON, end=end)
    with wire.client() as client:
        client.send(request(target=b"/attack"))
        one = client.answer()
        assert one.status == 502, one
        assert b"poisoned" not in one.body
        assert not client.unread
    (peer,) = wire.upstream.peers
    assert peer.has_ended()
    wire.upstream.reset()
    wire.victim()


@cases(
    ("not HTTP", b"hello\r\n\r\n"),
    ("HTTP/0.9", b"<html></html>\n"),
    ("TLS", b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n"),
    ("HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\r\n\r\n"),
    ("an empty line before it", b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("version 2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("version 1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("another protocol", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("version in lower case", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("two spaces", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("tab", b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("no status", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    ("two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("a status with a sign", b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status 000", b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status 099", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    ("CR in the reason", b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
    ("CR and a field in the reason", b"HTTP/1.1 200 OK\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"),
    ("LF in the reason", b"HTTP/1.1 200 OK\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in the reason", b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n"),
    ("a control character in the reason", b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n"),
)
def test_a_malformed_status_line_is_a_502(wire: Wire, attack: bytes) -> None:
    is_502(wire, attack, end="close")


@cases(
    ("a space before the colon", b"X : y\r\n"),
    ("no colon", b"X\r\n"),
    ("no name", b": y\r\n"),
    ("a space in the name", b"X Y: z\r\n"),
    ("obs-fold", b"X: y\r\n z\r\n"),
    ("obs-fold at the beginning", b" X: y\r\n"),
    ("NUL in the value", b"X: y\x00z\r\n"),
    ("NUL in the name", b"X\x00: y\r\n"),
    ("bare CR in the value", b"X: y\rSet-Cookie: a=b\r\n"),
    ("bare CR after the value", b"X: y\r\r\n"),
    ("bare LF in the value, stricter than nginx", b"X: y\nSet-Cookie: a=b\r\n"),
    ("bare LFs end the head, stricter than nginx", b"X: y\n\n"),
    ("a control character in the value", b"X: \x01\r\n"),
)
def test_a_malformed_field_line_of_an_answer_is_a_502(wire: Wire, attack: bytes) -> None:
    is_502(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + attack + b"\r\n")


@cases(
    ("two lengths that differ", b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    ("two lengths alike, stricter than RFC 9112", b"Content-Length: 5\r\nContent-Length: 5\r\n"),
    ("a list of lengths that differ", b"Content-Length: 5, 6\r\n"),
    ("negative", b"Content-Length: -5\r\n"),
    ("a sign", b"Content-Length: +5\r\n"),
    ("hexadecimal", b"Content-Length: 0x5\r\n"),
    ("empty", b"Content-Length:\r\n"),
    ("not a number", b"Content-Length: five\r\n"),
    ("more than 64 bits", b"Content-Length: 18446744073709551621\r\n"),
    ("a length and chunked", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked and a length", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("unknown coding", b"Transfer-Encoding: x\r\n"),
    ("gzip as a transfer coding", b"Transfer-Encoding: gzip, chunked\r\n"),
    ("identity", b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n"),
    ("chunked twice", b"Transfer-Encoding: chunked, chunked\r\n"),
    ("chunked in two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("vertical tab before the coding", b"Transfer-Encoding: \x0bchunked\r\n"),
    ("a space before the colon of the coding", b"Transfer-Encoding : chunked\r\n"),
    ("a folded coding", b"Transfer-Encoding:\r\n chunked\r\n"),
)
def test_an_ambiguous_length_of_an_answer_is_a_502(wire: Wire, attack: bytes) -> None:
    is_502(wire, b"HTTP/1.1 200 OK\r\n" + attack + b"\r\n5\r\nhello\r\n0\r\n\r\n")


def test_a_transfer_coding_of_http_1_0_is_a_502(wire: Wire) -> None:
    is_502(wire, b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


def test_a_head_without_end_is_a_502_and_costs_no_memory(wire: Wire) -> None:
    before = wire.daemon.rss_kib()
    is_502(wire, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000)
    is_502(wire, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2_000_000)
    assert wire.daemon.rss_kib() - before < 8 << 10


_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("end", ["close", "reset"])
@cases(
    ("no byte of the body", _LENGTH),
    ("a byte short", _LENGTH + b"123456789"),
    ("no chunk", _CHUNKED),
    ("within a chunk", _CHUNKED + b"5\r\nhel"),
    ("before the end of a chunk", _CHUNKED + b"5\r\nhello"),
    ("between chunks", _CHUNKED + b"5\r\nhello\r\n"),
    ("within a size", _CHUNKED + b"5\r\nhello\r\n1"),
    ("before the end of the last size", _CHUNKED + b"5\r\nhello\r\n0\r\n"),
    ("within the trailers", _CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n"),
)
def test_a_body_that_is_cut_is_cut_for_the_client(wire: Wire, attack: bytes, end: str) -> None:
    wire.upstream.script = answer(attack, end=end)
    with wire.client() as client:
        client.send(request(target=b"/attack"))
        head = client.head()
        if head.startswith(b"HTTP/1.1 502"):  # nothing was sent yet: as good
            return
        assert head.startswith(b"HTTP/1.1 200")
        rest = client.rest(seconds=2.0)
        assert not rest.endswith(b"0\r\n\r\n")
        assert len(rest) < 10 or b"chunked" in head
    wire.upstream.reset()
    wire.victim()


def test_a_body_without_a_length_that_is_reset_is_cut_for_the_client(wire: Wire) -> None:
    wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\n\r\nhello", pause=0.1, end="reset")
    for version in (b"HTTP/1.1", b"HTTP/1.0"):
        with wire.client() as client:
            client.send(request().replace(b"HTTP/1.1", version))
            with contextlib.suppress(Truncated):
                assert client.answer().status == 502  # nothing was sent yet: as good


@cases(
    ("not a number", b"x\r\nhello\r\n0\r\n\r\n"),
    ("a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("a space after the size", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("more than 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("empty size", b"\r\nhello\r\n0\r\n\r\n"),
    ("more data than the size", b"5\r\nhello world\r\n0\r\n\r\n"),
    ("LF ends the size", b"5\nhello\r\n0\r\n\r\n"),
    ("LF ends the data", b"5\r\nhello\n0\r\n\r\n"),
    ("CR and another byte end the size", b"5\rXhello\r\n0\r\n\r\n"),
    ("LF in an extension", b"5;a\nhello\r\n0\r\n\r\n"),
    ("an extension without end", b"5;" + b"a" * 100_000),
    ("a malformed trailer", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
    ("trailers without end", b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 20_000),
)
def test_malformed_chunks_of_an_answer_cut_it(wire: Wire, attack: bytes) -> None:
    wire.upstream.script = answer(_CHUNKED + attack + _POISON)
    with wire.client() as client:
        client.send(request(target=b"/attack"))
        data = client.some(seconds=1.0)
        if b" 502 " not in data:
            data += client.rest(seconds=1.0)
            assert b"poisoned" not in data
            assert not data.endswith(b"0\r\n\r\n")
    (peer,) = wire.upstream.peers
    assert peer.has_ended()
    wire.upstream.reset()
    wire.victim()


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n" + _POISON),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n" + _POISON),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n" + _POISON),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 41\r\n\r\n" + _POISON),
        (b"GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 41\r\n\r\n" + _POISON),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\n" + _POISON),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" + _POISON),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + _POISON),
        (b"GET", _CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + _POISON),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "later"])
def test_what_follows_an_answer_is_nobodys(wire: Wire, method: bytes, reply: bytes, pause: float) -> None:
    """The connection that brought it is not used again."""
    head, end, body = reply.partition(b"\r\n\r\n")
    wire.upstream.script = answer(head + end, body, pause=pause) if pause else answer(reply)
    with wire.client() as client:
        client.send(request(method=method, target=b"/attack"))
        one = client.answer(method)
        assert one.status in (200, 204, 304, 502)
        assert b"poisoned" not in one.body
        (peer,) = wire.upstream.peers
        assert peer.has_ended()
        wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")
        client.send(request(target=b"/next"))
        if client.some() == b"":
            return  # closing is right, too
    assert wire.get(b"/victim").body == b"own"


def test_a_204_has_neither_length_nor_coding_and_no_body(wire: Wire) -> None:
    """RFC 9110 §8.6: a server sends no Content-Length with it."""
    wire.upstream.script = answer(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: y\r\n\r\n")
    with wire.client() as client:
        for _ in range(2):
            client.send(request())
            one = client.answer()
            assert (one.status, one.body) == (204, b"")
            assert not one.values(b"Content-Length") + one.values(b"Transfer-Encoding")


def test_head_and_304_keep_the_length_of_what_they_do_not_send(wire: Wire) -> None:
    wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    with wire.client() as client:
        client.send(request(method=b"HEAD") * 2)
        assert [client.answer(b"HEAD").value(b"Content-Length") for _ in range(2)] == [b"1234", b"1234"]
        wire.upstream.script = answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: x\r\n\r\n")
        client.send(request() * 2)
        assert [client.answer().value(b"Content-Length") for _ in range(2)] == [b"1234", b"1234"]
    assert len(wire.upstream.peers) == 1


def test_bytes_on_an_idle_connection_are_nobodys(wire: Wire) -> None:
    """Response queue poisoning: the upstream speaks before it was asked."""
    wire.first()
    (peer,) = wire.upstream.peers
    peer.send(_POISON)
    assert peer.has_ended()
    wire.victim()


def test_bytes_before_the_request_on_a_new_connection_are_nobodys(wire: Wire) -> None:
    """A server that greets is no HTTP server: nobody waits for the end of what cannot become an answer."""
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(target=b"/a", method=b"POST", body=b""))
        peer = wire.upstream.accept()
        peer.send(b"220 mail.example.test ESMTP\r\n")
        assert client.answer(seconds=2.0).status == 502


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_body_until_the_end_is_forwarded_whole(wire: Wire, version: bytes) -> None:
    wire.upstream.script = answer(version + b" 200 OK\r\nX: y\r\n\r\nhello ", b"world", pause=0.05, end="close")
    with wire.client() as client:
        for _ in range(2):
            client.send(request())
            one = client.answer()
            assert (one.body, one.chunked) == (b"hello world", True)


def test_a_client_of_http_1_0_gets_no_chunks(wire: Wire) -> None:
    wire.upstream.script = answer(_CHUNKED + b"5\r\nhello\r\n", b"6\r\n world\r\n0\r\n\r\n", pause=0.05)
    for lines in ((), (b"Connection: keep-alive",)):
        with wire.client() as client:
            client.send(request(*lines).replace(b"HTTP/1.1", b"HTTP/1.0"))
            one = client.answer()
            assert (one.body, one.chunked) == (b"hello world", False)
            assert client.how_it_ended == "closed"


def test_a_client_of_http_1_0_may_keep_its_connection(wire: Wire) -> None:
    with wire.client() as client:
        for _ in range(2):
            client.send(request(b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))
            one = client.answer()
            assert one.status == 200
            assert one.value(b"Connection").lower() == b"keep-alive"
        client.send(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert client.answer().status == 200
        assert client.has_ended()


def test_answers_of_http_1_0_upstreams_are_ours_in_1_1(wire: Wire) -> None:
    wire.upstream.script = answer(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", end="close")
    with wire.client() as client:
        client.send(request() * 2)
        assert [client.answer().first for _ in range(2)] == [b"HTTP/1.1 200 OK"] * 2


def test_every_answer_to_a_malformed_request_is_one_of_http_1_1(wire: Wire) -> None:
    with wire.client() as client:
        client.send(b"GET\r\n\r\n")
        one = client.answer()
    assert one.first.startswith(b"HTTP/1.1 400 ")
    assert one.value(b"Connection").lower() == b"close"
    assert len(one.body) < 500
    assert not one.values(b"Server")


def test_an_answer_byte_by_byte_is_that_in_one(wire: Wire) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), pause=0.001)

    wire.upstream.script = script
    assert wire.get().body == b"hello"
