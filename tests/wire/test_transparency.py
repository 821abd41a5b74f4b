"""Where proxies built on aiohttp betray themselves: every byte and every fault reaches the other side as it is."""

import gzip
import hashlib
import socket
import zlib

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.raw_client import Truncated
from tests.support.raw_upstream import Peer, answer
from tests.support.wire import Wire, request


def _reply(body: bytes, *lines: bytes) -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


def test_the_head_of_an_answer_is_relayed_to_the_byte(wire: Wire) -> None:
    """Nothing is invented but a Date where there is none (RFC 9110 §6.6.1)."""
    lines = [
        b"x-Lower: 1",
        b"Set-Cookie: a=b; Path=/",
        b"SET-COOKIE: c=d",
        b"Set-Cookie:e=f",
        b"X-Latin: caf\xe9 \xff\xfe\xc3\x28",
        b"X-Empty:",
        b"Server: someone/1.0",
        b"Location: //x/../y?",
        b'ETag: W/"x"',
        b"X_Under.Score: 1",
    ]
    wire.upstream.script = answer(_reply(b"ok", *lines))
    seen = wire.get()
    assert seen.without(b"Date", b"Content-Length") == lines
    assert not seen.values(b"Content-Type")


def test_a_date_of_the_upstream_is_its_own(wire: Wire) -> None:
    wire.upstream.script = answer(_reply(b"ok", b"Date: Tue, 15 Nov 1994 08:12:31 GMT"))
    assert wire.get().values(b"Date") == [b"Tue, 15 Nov 1994 08:12:31 GMT"]


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 Sure, why not?", 200, b"Sure, why not?"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 299 caf\xe9", 299, b"caf\xe9"),
        (b"HTTP/1.1 418 \tx\t", 418, b"\tx\t"),
        (b"HTTP/1.1 599 Odd", 599, b"Odd"),
    ],
)
def test_the_status_is_relayed_as_it_is(wire: Wire, line: bytes, status: int, reason: bytes) -> None:
    wire.upstream.script = answer(line + b"\r\nContent-Length: 2\r\n\r\nok")
    seen = wire.get()
    assert (seen.status, seen.reason, seen.body) == (status, reason, b"ok")


def test_a_status_line_without_a_reason_is_understood(wire: Wire) -> None:
    """RFC 9112 §4 wants the space; many leave it out, and nginx takes it."""
    wire.upstream.script = answer(b"HTTP/1.1 204\r\n\r\n")
    assert wire.get().status == 204


_GZIP = gzip.compress(b"hello" * 100, mtime=0)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", _GZIP),
        (b"gzip", b"not gzip at all"),
        (b"gzip", _GZIP[:-4]),
        (b"deflate", zlib.compress(b"hello" * 100)),
        (b"br", b"\x0b\x02\x80hello\x03"),
        (b"zstd", b"\x28\xb5\x2f\xfd"),
        (b"gzip, br", b"\xff"),
        (b"unknown", b"\xff"),
    ],
    ids=["gzip", "not gzip", "half of gzip", "deflate", "br", "zstd", "two", "unknown"],
)
def test_coded_bodies_pass_untouched_both_ways(wire: Wire, coding: bytes, body: bytes) -> None:
    wire.upstream.script = answer(_reply(body, b"Content-Encoding: " + coding))
    lines = (b"Content-Encoding: " + coding, b"Content-Length: %d" % len(body), b"Accept-Encoding: identity")
    with wire.client() as client:
        client.send(request(*lines, method=b"POST", body=body))
        seen = client.final()
    assert (seen.value(b"Content-Encoding"), seen.body) == (coding, body)
    (got,) = wire.upstream.requests()
    assert (got.value(b"Content-Encoding"), got.body) == (coding, body)


def test_a_gzip_bomb_costs_nothing(wire: Wire) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    before = wire.daemon.rss_kib()
    with wire.client() as client:
        lines = (b"Content-Encoding: gzip", b"Content-Length: %d" % len(bomb))
        client.send(request(*lines, method=b"POST", target=b"/p", body=bomb))
        assert client.final().body == b"POST /p " + bomb
    wire.upstream.script = answer(_reply(bomb, b"Content-Encoding: gzip"))
    assert wire.get().body == bomb
    assert wire.daemon.rss_kib() - before < 8 << 10


def test_ranges_are_relayed(wire: Wire) -> None:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nAccept-Ranges: bytes\r\n"
    wire.upstream.script = answer(head + b"Content-Length: 3\r\n\r\n234")
    seen = wire.get(b"/", b"Range: bytes=2-4", b'If-Range: "x"')
    assert (seen.status, seen.value(b"Content-Range"), seen.body) == (206, b"bytes 2-4/10", b"234")
    (got,) = wire.upstream.requests()
    assert (got.value(b"Range"), got.value(b"If-Range")) == (b"bytes=2-4", b'"x"')


def test_all_bytes_pass_both_ways(wire: Wire) -> None:
    body = bytes(range(256)) * 1000
    with wire.client() as client:
        client.send(request(b"Content-Length: %d" % len(body), method=b"POST", target=b"/p", body=body))
        assert client.final().body == b"POST /p " + body
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(part), part) for part in (body[at : at + 777] for at in range(0, len(body), 777))
        )
        client.send(request(b"Transfer-Encoding: chunked", method=b"POST", target=b"/p", body=chunks + b"0\r\n\r\n"))
        assert client.final().body == b"POST /p " + body


def test_trailers_of_an_answer_are_relayed_to_who_wants_them(wire: Wire) -> None:
    body = b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nx-other:2\r\n\r\n"
    wire.upstream.script = answer(
        b"HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    )
    seen = wire.get(b"/", b"TE: trailers", b"Connection: TE")
    assert (seen.body, seen.trailers) == (b"hello", (b"X-Checksum: 1", b"x-other:2"))
    with wire.client() as client:  # others may get them, or not
        client.send(request() * 2)
        assert [client.answer().body for _ in range(2)] == [b"hello", b"hello"]


@pytest.mark.parametrize("trailer", [b"Content-Length: 50", b"Transfer-Encoding: chunked", b"Set-Cookie: a=b",
                                     b"Location: /x", b"Connection: close", b"Content-Type: text/html"])  # fmt: skip
def test_a_trailer_of_an_answer_is_never_taken_for_a_field_of_the_head(wire: Wire, trailer: bytes) -> None:
    body = b"5\r\nhello\r\n0\r\n" + trailer + b"\r\nX-Checksum: 1\r\n\r\n"
    wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    try:
        seen = wire.get(b"/", b"TE: trailers", b"Connection: TE")
    except Truncated:  # that is for who sends framing in trailers
        assert trailer.startswith((b"Content-Length", b"Transfer-Encoding"))
        return
    assert seen.body == b"hello"
    assert set(seen.trailers) <= {b"X-Checksum: 1"}
    assert trailer not in [line for line in seen.lines if line != b"Transfer-Encoding: chunked"]


def test_chunks_of_an_answer_keep_no_extensions(wire: Wire) -> None:
    wire.upstream.script = answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1;c\r\n!\r\n0;d\r\n\r\n"
    )
    seen = wire.get()
    assert seen.body == b"hello!"


def _close(peer: Peer) -> None:
    peer.request()
    peer.close()


def _reset(peer: Peer) -> None:
    peer.request()
    peer.reset()


@pytest.mark.parametrize("fault", [_close, _reset], ids=["closes", "resets"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_an_upstream_that_says_nothing_is_a_502(wire: Wire, method: bytes, fault: type) -> None:
    wire.upstream.script = fault
    with wire.client() as client:
        client.send(request(b"Content-Length: 0", method=method) * 2)
        assert [client.final().status for _ in range(2)] == [502, 502]
    assert len(wire.upstream.requests()) == 2, "on a new connection nothing is sent twice"


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
def test_a_connection_that_went_stale_costs_a_safe_request_nothing(wire: Wire, method: bytes) -> None:
    served: list[int] = []

    def script(peer: Peer) -> None:
        if peer.number in served:  # what it sent on the same connection before
            peer.request()
            peer.close()
            return
        served.append(peer.number)
        peer.request()
        peer.send(_reply(b"" if method == b"HEAD" else b"ok"))

    wire.upstream.script = script
    with wire.client() as client:
        for _ in range(3):
            client.send(request(method=method))
            assert client.final(method).status == 200


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"PURGE"])
def test_a_request_that_is_not_idempotent_is_never_sent_twice(wire: Wire, method: bytes) -> None:
    wire.first()
    wire.upstream.script = _close
    with wire.client() as client:
        client.send(request(b"Content-Length: 5", method=method, target=b"/p", body=b"hello"))
        assert client.final().status == 502
    assert wire.upstream.targets().count(b"/p") == 1


def test_an_error_of_ours_tells_nothing_of_the_inside(wire: Wire) -> None:
    wire.upstream.script = _close
    seen = wire.get()
    assert seen.status == 502
    assert not [line for line in seen.lines if line.lower().startswith((b"server:", b"via:", b"x-powered"))]
    assert b"127.0.0.1" not in seen.body
    assert str(wire.upstream.port).encode() not in seen.body
    assert seen.value(b"X-Request-ID") in seen.body
    assert seen.value(b"X-Request-ID") == wire.upstream.requests()[0].value(b"X-Request-ID")


def test_errors_of_the_upstream_are_its_own(wire: Wire) -> None:
    for status in (400, 404, 413, 500, 502, 503, 504):
        wire.upstream.script = answer(b"HTTP/1.1 %d Own\r\nContent-Length: 3\r\n\r\nown" % status)
        seen = wire.get()
        assert (seen.status, seen.reason, seen.body) == (status, b"Own", b"own")


def test_an_upstream_that_refuses_connections_is_a_502(daemon: DaemonProcess, wire: Wire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    refusing = _beside(daemon, wire, port)
    with refusing.client() as client:
        for method in (b"GET", b"HEAD", b"POST"):
            client.send(request(method=method))
            assert client.answer(method).status == 502


def _beside(daemon: DaemonProcess, wire: Wire, port: int) -> Wire:
    """Return another daemon with the same certificates and another upstream."""
    daemon.cache.mkdir(mode=0o700)
    for file in ("host.example.test", "other.example.test"):
        (daemon.cache / file).write_bytes((wire.daemon.cache / file).read_bytes())
        (daemon.cache / file).chmod(0o600)
    daemon.configure({"host.example.test": port}, acme={"server": "https://127.0.0.1:9/directory"})
    daemon.start()
    return Wire(daemon, wire.upstream, wire.context, wire.other_context, wire.h2_context)


def test_an_idle_connection_costs_little(wire: Wire) -> None:
    """aiohttp's server keeps some 200 KiB for each, ours at most a quarter of it."""
    count = 150
    first = [wire.client() for _ in range(count)]  # what an allocator keeps once is not what each one costs
    for client in first:
        client.close()
    before = wire.daemon.rss_kib()
    clients = [wire.client() for _ in range(count)]
    try:
        for client in clients:
            client.send(request())
            assert client.answer().status == 200
        assert (wire.daemon.rss_kib() - before) / count < 50
    finally:
        for client in clients:
            client.close()


def test_large_bodies_are_intact(wire: Wire) -> None:
    block = hashlib.sha512(b"x").digest() * 1024
    size, digest = 0, hashlib.sha256()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(block) * 300), *[block] * 300)

    wire.upstream.script = script
    with wire.client() as client:
        client.send(request())
        client.head()
        while size < len(block) * 300:
            data = client.some()
            size += len(data)
            digest.update(data)
    assert digest.digest() == hashlib.sha256(block * 300).digest()
