import pytest

from proxyd.core.body_length import CHUNKED, UNTIL_CLOSE
from proxyd.core.response_scanner import MalformedResponse, ResponseHead, scan_response


def scan(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return scan_response(b"\r\n".join((start, *lines)))


def test_a_usual_response_is_kept_as_written() -> None:
    head = scan(
        b"Server:  x", b"date: now", b"Content-Length: 12", b"Connection: keep-alive", b"X: caf\xe9", b"Trailer: T"
    )
    assert (head.status, head.reason, head.body, head.closes, head.has_date) == (200, b"OK", 12, False, True)
    assert head.kept == b"\r\nServer:  x\r\ndate: now\r\nX: caf\xe9\r\nTrailer: T"


@pytest.mark.parametrize(
    ("start", "status", "reason"),
    [
        (b"HTTP/1.1 404 Not  Found", 404, b"Not  Found"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.1 999 \xe9\t", 999, b"\xe9\t"),
    ],
)
def test_status_lines(start: bytes, status: int, reason: bytes) -> None:
    found = scan(start=start)
    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize(
    "start",
    [
        *(b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20", b"HTTP/1.1 2000", b"HTTP/1.1 099 x", b"HTTP/1.1  200 OK"),
        *(
            b"HTTP/2 200 OK",
            b"HTTP/2.0 200 OK",
            b"ICY 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1 200\tOK",
            b"HTTP/1.1 +20 OK",
        ),
        *(
            b"HTTP/1.1 200 O\rK",
            b"HTTP/1.1 200 O\nK",
            b"HTTP/1.1 200 O\x00K",
            b"\nHTTP/1.1 200 OK",
            b"HTTP/1.1 \xb2\xb2\xb2 OK",
        ),
    ],
)
def test_status_lines_that_are_refused(start: bytes) -> None:
    with pytest.raises(MalformedResponse):
        scan(start=start)


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"Content-Length: 5\r\nContent-Length: 6",
            b"Content-Length: 5\r\nContent-Length: 5",
            b"Content-Length: 5, 5",
        ),
        *(
            b"Content-Length: -1",
            b"Content-Length: +1",
            b"Content-Length:",
            b"Content-Length : 5",
            b"Content_Length: 5",
        ),
        *(
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: x",
        ),
        *(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding : chunked"),
        *(
            b"X: a\r\n b",
            b"X: a\rb",
            b"X: a\nb",
            b"X: a\x00b",
            b"X: a\x7f",
            b"no colon",
            b": x",
            b"",
            b"a b: c",
            b"Date",
        ),
    ],
)
def test_ambiguous_heads_are_refused(line: bytes) -> None:
    with pytest.raises(MalformedResponse):
        scan(line, b"Server: x")


def test_framing() -> None:
    assert scan().body == UNTIL_CLOSE
    assert scan(b"Transfer-Encoding: CHUNKED").body == CHUNKED
    assert scan(b"Content-Length: 0").body == 0


def test_http_1_0() -> None:
    old = b"HTTP/1.0 200 OK"
    assert scan(start=old).closes
    assert not scan(b"Connection: Keep-Alive", b"Content-Length: 1", start=old).closes
    with pytest.raises(MalformedResponse):
        scan(b"Transfer-Encoding: chunked", start=old)


def test_hop_by_hop_fields_go() -> None:
    head = scan(
        *(
            b"Connection: close, x-one, Set-Cookie",
            b"connection: x-two",
            b"Keep-Alive: timeout=5, max=100",
            b"X-One: 1",
        ),
        *(b"x-Two: 2", b"Set-Cookie: a", b"Set-Cookie: b", b"Upgrade: websocket", b"Proxy-Authenticate: p", b"TE: x"),
    )
    assert head.kept == b"\r\nSet-Cookie: a\r\nSet-Cookie: b"
    assert (head.closes, head.idle, head.upgrade) == (True, 5.0, b"websocket")


def test_idle_time() -> None:
    assert scan().idle is None
    assert scan(b"Keep-Alive: max=5").idle is None
    assert scan(b"keep-alive: max=5, Timeout = 72").idle == 72.0
    assert scan(b"Keep-Alive: timeout=-1").idle is None


def test_statuses_that_have_no_body_but_tell_of_one() -> None:
    for line in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        assert scan(line, start=b"HTTP/1.1 204 No Content").closes
        assert not scan(line, start=b"HTTP/1.1 304 Not Modified").closes
        for status in (b"100", b"103"):
            with pytest.raises(MalformedResponse):
                scan(line, start=b"HTTP/1.1 " + status)
    assert not scan(b"Content-Length: 0", start=b"HTTP/1.1 204 No Content").closes
    assert not scan(start=b"HTTP/1.1 103 Early Hints").closes


def test_a_change_of_protocols_names_one() -> None:
    start = b"HTTP/1.1 101 Switching Protocols"
    assert scan(b"Connection: upgrade", b"Upgrade: websocket", start=start).upgrade == b"websocket"
    for lines in ((), (b"Upgrade: ",)):
        with pytest.raises(MalformedResponse):
            scan(*lines, start=start)
