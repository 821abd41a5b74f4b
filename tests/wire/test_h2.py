"""Requests over HTTP/2, frame by frame: what the upstream sees, and what the client gets."""

import struct
import time

import pytest

from tests.support.daemon import eventually
from tests.support.h2_client import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PROTOCOL_ERROR,
    Answer,
    frame,
    settings,
    window_update,
)
from tests.support.raw_upstream import Peer, answer
from tests.support.wire import HOST, NEIGHBOUR, OTHER, Wire

_SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: host.example.test\r\n\r\n"


def test_a_request_is_served(wire: Wire) -> None:
    with wire.h2_client() as client:
        one = client.asks("/a?b", ("user-agent", "me"), ("x-a", "1"), ("cookie", "a=1"), ("cookie", "b=2"))
        assert (one.status, one.body) == (200, b"GET /a?b ")
        assert client.settings == {3: 100, 4: 131_072, 6: 16_384, 8: 1}
    (seen,) = wire.upstream.requests()
    assert (seen.method, seen.target) == (b"GET", b"/a?b")
    assert seen.value(b"Host") == b"host.example.test"
    assert seen.value(b"x-a") == b"1"
    assert seen.value(b"cookie") == b"a=1; b=2"
    assert seen.value(b"X-Forwarded-Proto") == b"https"


def test_many_requests_at_a_time_share_the_connection(wire: Wire) -> None:
    with wire.h2_client() as client:
        streams = {client.get(f"/{number}"): number for number in range(50)}
        for stream, number in streams.items():
            assert client.answer(stream).body == b"GET /%d " % number


def test_bodies_both_ways(wire: Wire) -> None:
    with wire.h2_client() as client:
        sized = client.answer(client.post("/sized", b"a" * 10, b"b" * 10, more=[("content-length", "20")]))
        assert sized.body == b"POST /sized " + b"a" * 10 + b"b" * 10
        assert client.answer(client.post("/unknown", b"hello", b"")).body == b"POST /unknown hello"
        padded = client.post("/padded", ends=False)
        client.send(frame(DATA, END_STREAM | 8, padded, b"\x03" + b"hey" + b"\0" * 3))
        assert client.answer(padded).body == b"POST /padded hey"
        assert client.answer(client.post("/empty", b"", more=[("content-length", "0")])).status == 200
    by_target = {one.target: one for one in wire.upstream.requests()}
    assert by_target[b"/sized"].value(b"Content-Length") == b"20"
    assert by_target[b"/unknown"].value(b"Transfer-Encoding") == b"chunked"
    assert by_target[b"/empty"].value(b"Content-Length") == b"0"


def test_trailers_both_ways(wire: Wire) -> None:
    wire.upstream.script = answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n"
    )
    with wire.h2_client() as client:
        stream = client.post("/", b"body", ends=False, more=[("te", "trailers")])
        client.send(client.head([("x-sum", "1")], stream=stream))
        one = client.answer(stream)
    assert (one.body, one.trailers) == (b"hello", [("x-checksum", "abc")])
    (seen,) = wire.upstream.received()
    assert seen.endswith(b"4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n")


def test_informational_answers(wire: Wire) -> None:
    wire.upstream.script = answer(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"
    )
    with wire.h2_client() as client:
        one = client.asks()
    assert one.interims == [{":status": "103", "link": "</a>"}]
    assert one.status == 204
    assert one.body == b""
    assert "content-length" not in dict(one.fields)


def test_who_waits_with_its_body_is_told_to_send_it(wire: Wire) -> None:
    with wire.h2_client() as client:
        stream = client.post("/", ends=False, more=[("expect", "100-continue"), ("content-length", "2")])
        while not client.streams.get(stream) or not client.streams[stream].interims:
            client.step()
        client.send(frame(DATA, END_STREAM, stream, b"hi"))
        assert client.answer(stream).body == b"POST / hi"


@pytest.mark.parametrize("status", [b"200 OK", b"304 Not Modified"])
def test_an_answer_to_head_has_no_body(wire: Wire, status: bytes) -> None:
    wire.upstream.script = answer(b"HTTP/1.1 %b\r\nContent-Length: 5\r\n\r\n" % status)
    with wire.h2_client() as client:
        client.send(client.head(client.fields("/", "HEAD")))
        one = client.answer(client.last)
    assert (one.status, dict(one.fields)["content-length"], one.body) == (int(status[:3]), "5", b"")


def test_an_answer_without_a_length_ends_with_its_connection(wire: Wire) -> None:
    wire.upstream.script = answer(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall", b" of it", pause=0.05, end="close"
    )
    with wire.h2_client() as client:
        one = client.asks()
    assert one.body == b"all of it"
    assert "connection" not in dict(one.fields)


def test_an_answer_that_breaks_off_is_a_stream_that_is_reset(wire: Wire) -> None:
    wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", end="close")
    with wire.h2_client() as client:
        one = client.asks()
        assert (one.is_whole, one.reset) == (False, 2)
        wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.asks().body == b"ok"


def test_an_early_answer_ends_the_request_without_an_error(wire: Wire) -> None:
    """RFC 9113 §8.1: the answer is whole, then RST_STREAM with NO_ERROR."""

    def early(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        peer.close()

    wire.upstream.script = early
    with wire.h2_client() as client:
        stream = client.post("/", b"x" * 100, ends=False, more=[("content-length", "1000")])
        one = client.answer(stream)
        while one.reset is None:
            client.step()
        assert (one.status, one.body, one.reset) == (413, b"no", 0)
        client.send(frame(DATA, END_STREAM, stream, b"late"))  # was on its way: no fault
        client.settle()


MALFORMED: dict[str, list[tuple[str, str]]] = {
    "upper case": [("X-A", "b")],
    "a space in a name": [("x a", "b")],
    "a colon in a name": [("x:a", "b")],
    "no name": [("", "b")],
    "LF in a value": [("x-a", "b\nX-B: c")],
    "CRLF in a value": [("x-a", "b\r\n\r\n" + _SMUGGLED)],
    "NUL in a value": [("x-a", "b\0c")],
    "CRLF in a name": [("x-a: b\r\nx-c", "d")],
    "space before a value": [("x-a", " b")],
    "space after a value": [("x-a", "b ")],
    "connection": [("connection", "close")],
    "keep-alive": [("keep-alive", "timeout=5")],
    "proxy-connection": [("proxy-connection", "x")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "upgrade": [("upgrade", "h2c")],
    "te": [("te", "gzip")],
    "an alias of a framing field": [("content_length", "5")],
    "two lengths": [("content-length", "5"), ("content-length", "5")],
    "no number": [("content-length", "+5")],
    "a length of nothing": [("content-length", "5")],
    "two hosts": [("host", HOST), ("host", HOST)],
    "a pseudo field after others": [("x-a", "b"), (":path", "/")],
    "an unknown pseudo field": [(":x", "b")],
    "a response's pseudo field": [(":status", "200")],
    "a second path": [(":path", "/b")],
    "a protocol without CONNECT": [(":protocol", "websocket")],
}


@pytest.mark.parametrize("more", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_reaches_no_upstream(wire: Wire, more: list[tuple[str, str]]) -> None:
    with wire.h2_client() as client:
        one = client.asks("/", *more)
        assert (one.status, one.reset) == (0, PROTOCOL_ERROR)
        assert client.asks("/victim").body == b"GET /victim "
    assert wire.upstream.targets() == [b"/victim"]


LINES: dict[str, tuple[int, list[tuple[str, str]]]] = {
    "CRLF in the path": (0, [(":path", "/ HTTP/1.1\r\nX: y\r\n\r\n" + _SMUGGLED)]),
    "a space in the path": (400, [(":path", "/a b")]),
    "a fragment": (400, [(":path", "/a#b")]),
    "an absolute path": (400, [(":path", "http://other.example.test/")]),
    "no slash": (400, [(":path", "a")]),
    "an empty path": (0, [(":path", "")]),
    "a star": (400, [(":path", "*")]),
    "a space in the method": (400, [(":method", "GET / HTTP/1.1\tx")]),
    "CRLF in the method": (0, [(":method", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET")]),
    "lower case method": (501, [(":method", "get")]),
    "TRACE": (501, [(":method", "TRACE")]),
    "CONNECT": (501, [(":method", "CONNECT")]),
    "an unknown scheme": (400, [(":scheme", "ftp")]),
    "CRLF in the scheme": (0, [(":scheme", "https\r\nX: y")]),
    "user in the authority": (400, [(":authority", "user@host.example.test")]),
    "a path in the authority": (400, [(":authority", "host.example.test/x")]),
    "a space in the authority": (400, [(":authority", "host.example.test x")]),
    "CRLF in the authority": (0, [(":authority", "host.example.test\r\nX: y")]),
    "an empty authority": (400, [(":authority", "")]),
    "another host": (400, [("host", "other.example.test")]),
    "not served here": (421, [(":authority", "unknown.example.test")]),
    "not the certificate's": (421, [(":authority", OTHER)]),
    "an expectation": (417, [("expect", "magic")]),
    "a long path": (414, [(":path", "/" + "a" * 9000)]),
    "a large head": (431, [("x-a", "a" * 20_000)]),
    "many fields": (431, [(f"x-{number}", "a") for number in range(120)]),
}


@pytest.mark.parametrize(("status", "more"), LINES.values(), ids=LINES)
def test_what_is_refused_reaches_no_upstream(wire: Wire, status: int, more: list[tuple[str, str]]) -> None:
    with wire.h2_client() as client:
        instead = dict(more)
        start = [(name, instead.pop(name, value)) for name, value in client.fields("/attack")]
        client.send(client.head([*start, *instead.items()]))
        one = client.answer(client.last)
        assert (one.status, one.reset) == ((status, None) if status else (0, PROTOCOL_ERROR))
        assert client.asks("/victim").body == b"GET /victim "
    assert wire.upstream.targets() == [b"/victim"]


def test_all_hosts_of_the_certificate_share_the_connection(wire: Wire) -> None:
    with wire.h2_client() as client:
        start = client.fields("/neighbour")
        start[2] = (":authority", NEIGHBOUR)
        client.send(client.head(start))
        assert client.answer(client.last).status == 200
    assert wire.upstream.requests()[0].value(b"Host") == NEIGHBOUR.encode()


def test_a_star_is_for_options(wire: Wire) -> None:
    with wire.h2_client() as client:
        client.send(client.head(client.fields("*", "OPTIONS")))
        assert client.answer(client.last).status == 200
    assert wire.upstream.targets() == [b"*"]


def test_host_in_the_place_of_an_authority(wire: Wire) -> None:
    with wire.h2_client() as client:
        client.send(client.head([(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", HOST)]))
        assert client.answer(client.last).status == 200


@pytest.mark.parametrize("body", [b"12345", b"1", b""], ids=["longer", "shorter", "nothing"])
def test_a_body_is_as_long_as_it_says(wire: Wire, body: bytes) -> None:
    with wire.h2_client() as client:
        one = client.answer(client.post("/", body, more=[("content-length", "3")]))
        assert one.reset == PROTOCOL_ERROR
        client.settle()


def test_a_head_in_pieces(wire: Wire) -> None:
    with wire.h2_client() as client:
        block = client.encoder.encode(client.fields("/pieces", "GET", ("x-a", "b" * 100)))
        pieces = [frame(HEADERS, END_STREAM, 1, block[:10])]
        pieces += [frame(9, 0, 1, block[at : at + 20]) for at in range(10, len(block) - 20, 20)]
        rest = 10 + 20 * (len(pieces) - 1)
        client.send(*pieces, frame(9, END_HEADERS, 1, block[rest:]))
        assert client.answer(1).body == b"GET /pieces "


def test_bytes_one_by_one(wire: Wire) -> None:
    with wire.h2_client() as client:
        for byte in client.head(client.fields("/drip")):
            client.send(bytes([byte]))
        assert client.answer(client.last).body == b"GET /drip "


def _large(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(range(256)) * (size // 256)


def test_a_download_follows_the_windows(wire: Wire) -> None:
    wire.upstream.script = answer(_large(1 << 20))
    with wire.h2_client(window=1000) as client:
        stream = client.get()
        while len(client.streams.setdefault(stream, Answer()).body) < 1000:
            client.step()
        client.settle()
        assert len(client.streams[stream].body) == 1000
        client.send(settings(window=0))
        client.settle()  # the stream's window is negative now
        client.send(window_update(stream, 500))
        client.settle()
        assert len(client.streams[stream].body) == 1000
        client.send(window_update(stream, 1 << 21))
        one = client.answer(stream)
    assert one.body == bytes(range(256)) * (1 << 12)


def test_a_table_of_no_size_is_obeyed(wire: Wire) -> None:
    with wire.h2_client(table=0) as client:
        client.decoder.max_allowed_table_size = 0
        client.decoder.header_table_size = 0
        assert client.asks().status == 200
        client.send(settings(table=4096))
        assert client.asks().status == 200


def test_unknown_frames_and_priorities_are_passed_over(wire: Wire) -> None:
    with wire.h2_client() as client:
        client.send(frame(0x10, 0, 0, struct.pack(">I", 1) + b"u=1"), frame(0xFA, 7, 3, b"?"), frame(2, 0, 1, bytes(5)))
        assert client.asks().status == 200


def test_who_says_goodbye_gets_all_its_answers(wire: Wire) -> None:
    """Also those that have to wait because it takes nothing just then."""
    wire.upstream.script = answer(b"HTTP/1.1 204 No Content\r\nX-Large: %b\r\n\r\n" % (b"a" * 8000))
    with wire.h2_client(receive_buffer=4096) as client:
        streams = [client.get("/204") for _ in range(100)]
        eventually(lambda: len(wire.upstream.targets()) == 100)
        client.send(frame(GOAWAY, 0, 0, bytes(8)))
        time.sleep(0.5)  # nobody reads meanwhile, and nothing may be cut
        assert [client.answer(one).status for one in streams] == [204] * 100
        while not client.goaways:
            client.step()
        assert client.goaways == [(streams[-1], 0)]
        assert client.raw.has_ended(5.0)


def test_a_request_that_is_taken_back_ends_at_the_upstream(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.h2_client() as client:
        stream = client.get()
        peer = wire.upstream.accept()
        peer.head()
        client.send(frame(3, 0, stream, struct.pack(">I", 8)))
        assert peer.has_ended(5.0)
        wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.asks().body == b"ok"
