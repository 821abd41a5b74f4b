from dataclasses import replace

import pytest

from proxyd.core.body_length import CHUNKED, NO_BODY
from proxyd.core.request_scanner import (
    MalformedRequest,
    RequestBlock,
    as_of_http_1_0,
    is_plain,
    keeps_open,
    scan_block,
    scan_line,
    target_path,
)

GET = scan_line(b"GET / HTTP/1.1")
OLD = scan_line(b"GET / HTTP/1.0")


def scan_all(*lines: bytes, host: bytes = b"Host: a.test") -> tuple[RequestBlock, bytes]:
    return scan_block(b"".join(b"\r\n" + line for line in (host, *lines)), max_count=100)


def scan(*lines: bytes, host: bytes = b"Host: a.test") -> RequestBlock:
    return scan_all(*lines, host=host)[0]


def refusal(*lines: bytes, host: bytes = b"Host: a.test") -> int:
    with pytest.raises(MalformedRequest) as caught:
        scan(*lines, host=host)
    return caught.value.status


def line_refusal(line: bytes) -> int:
    with pytest.raises(MalformedRequest) as caught:
        scan_line(line)
    return caught.value.status


def target_refusal(line: bytes, *lines: bytes) -> int:
    with pytest.raises(MalformedRequest) as caught:
        target_path(scan_line(line), scan(*lines))
    return caught.value.status


def test_a_usual_request_is_kept_as_written() -> None:
    block, kept = scan_all(
        b"User-Agent:  curl/8 ", b"aCCept:*/*", b"Connection: keep-alive", b"X-Latin: caf\xe9\t", b"Via: 1.0 b"
    )
    assert kept == b"\r\nUser-Agent:  curl/8 \r\naCCept:*/*\r\nX-Latin: caf\xe9\t\r\nVia: 1.0 b"
    assert (block.authority, block.user_agent, block.body, block.keeps) == (b"a.test", b"curl/8", NO_BODY, True)
    assert not block.closes
    assert is_plain(GET[2], block)
    assert scan_all()[1] == b""


@pytest.mark.parametrize(
    ("lines", "body", "zero"),
    [
        ((), NO_BODY, False),
        ((b"Content-Length: 0",), NO_BODY, True),
        ((b"content-length:\t12 ",), 12, False),
        ((b"Transfer-Encoding: Chunked",), CHUNKED, False),
    ],
)
def test_framing(lines: tuple[bytes, ...], body: int, zero: bool) -> None:
    block, kept = scan_all(*lines)
    assert (block.body, block.length_zero, kept) == (body, zero, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length:",
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: 0x5",
        b"Content-Length: 5 5",
        b"Content-Length: 5, 5",
        b"Content-Length: 5,",
        b"Content-Length: 5.0",
        b"Content-Length: 1_000",
        b"Content-Length: \xb2",
        b"Content-Length: 9999999999999999999",
        b"Content-Length : 5",
        b"Content-Length\t: 5",
        b" Content-Length: 5",
        b"Content_Length: 5",
        b"Content.Length: 5",
        b"Content-Length: 5\x0b",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding: chunked;x=1",
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer_Encoding: chunked",
        b"transfer.encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
    ],
)
def test_obfuscated_framing_is_refused(line: bytes) -> None:
    assert refusal(line) == 400


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5", b"content-length: 6"),
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 0"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    ],
)
def test_conflicting_framing_is_refused(lines: tuple[bytes, ...]) -> None:
    assert refusal(*lines) == 400


def test_other_transfer_codings_are_not_spoken() -> None:
    assert refusal(b"Transfer-Encoding: gzip, chunked") == 501


@pytest.mark.parametrize("byte", [0, 1, 8, 10, 11, 12, 13, 27, 31, 127])
def test_control_characters_are_refused_anywhere(byte: int) -> None:
    for line in (b"X: a%cb", b"X: %c", b"X%c: a", b"%cX: a", b"X:%c a", b"X: a%c"):
        assert refusal(line % byte) == 400
        assert refusal(b"A: b", line % byte, b"C: d") == 400


@pytest.mark.parametrize(
    "line", [b"X-Fold: a\r\n b", b"X-Fold: a\r\n\tb", b"no colon", b"", b": value", b"a b: c", b"X\xe9: a"]
)
def test_lines_that_are_no_fields_are_refused(line: bytes) -> None:
    assert refusal(line, b"Accept: */*") == 400


def test_a_known_name_without_colon_is_refused() -> None:
    for name in (b"Accept", b"Connection", b"User-Agent", b"X-Forwarded-For", b"Host"):
        assert refusal(name) == 400


def test_the_block_starts_with_the_end_of_the_request_line() -> None:
    for block in (b"", b"Host: a.test", b"\nHost: a.test", b"\r\nHost: a.test\r\n", b"\r\n\r\nHost: a.test"):
        with pytest.raises(MalformedRequest):
            scan_block(block, max_count=9)


@pytest.mark.parametrize(
    "host",
    [
        *(
            b"",
            b"a.test/x",
            b"a test",
            b"x@a.test",
            b"a.test:",
            b"a.test:x",
            b"a.test:99999",
            b"a.test:443:1",
            b"a..test",
        ),
        *(
            b"a.test,b.test",
            b"\xe4.test",
            b"a.test#",
            b"a.test?x",
            b"[::1",
            b"::1",
            b"[::1]x",
            b"[fe80::1%25eth0]",
            b"a%2etest",
        ),
        *(b"1.2.3.4.5", b"http://a.test", b"a.test\\b", b"-a.test", b"a" * 300, b"[]", b".", b"*.test"),
    ],
)
def test_malformed_hosts_are_refused(host: bytes) -> None:
    assert refusal(host=b"Host: " + host) == 400


@pytest.mark.parametrize(
    "host", [b"a.test", b"A.Test:8443", b"a.test.", b"192.0.2.1:80", b"[2001:db8::1]:443", b"x_y.test"]
)
def test_hosts(host: bytes) -> None:
    assert scan(host=b"hOST:\t" + host + b" ").authority == host


def test_there_is_exactly_one_host() -> None:
    assert refusal(b"Host: a.test") == 400
    assert refusal(b"host: b.test") == 400
    assert refusal(host=b"Accept: */*") == 400


def test_too_many_lines() -> None:
    with pytest.raises(MalformedRequest) as caught:
        scan_block(b"\r\nHost: a.test" + b"\r\nA: b" * 3, max_count=3)
    assert caught.value.status == 431


def test_what_is_ours_to_say_goes_under_every_spelling() -> None:
    block, kept = scan_all(
        *(b"X-Forwarded-For: 6.6.6.6, 7.7.7.7", b"x-forwarded-for: 8.8.8.8", b"X_Forwarded_For: 6.6.6.6"),
        *(b"X.Forwarded_Host: a", b"Forwarded: for=6.6.6.6", b"X-REAL-IP: 6", b"x_request_id: 6", b"Client_Cert: f"),
        *(b"Client-Cert-Chain: f", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: c.test", b"X-Forwarded-Port: 1"),
        *(b"X-Forwarded-Ssl: on", b"X-Forwarded-Scheme: http", b"x_forwarded_prefix: /x", b"X-Forwarded-Server: b"),
        *(b"Proxy_Connection: close", b"X-Forwarded: yes"),
    )
    assert kept == b"\r\nX-Forwarded: yes"
    assert block.claims.x_forwarded_for == (b"6.6.6.6, 7.7.7.7", b"8.8.8.8")
    assert block.claims.x_forwarded_proto == (b"http",)
    assert block.claims.x_forwarded_host == (b"c.test",)


def test_hop_by_hop_fields_go_whichever_line_nominates_them_but_never_end_to_end_ones() -> None:
    block, kept = scan_all(
        *(b"Connection: X-One ,close", b"connection: x-two,, Cookie, authorization,content-type, HOST, content-length"),
        *(b"X-One: 1", b"Content-Length: 3", b"x-TWO: 2", b"Cookie: c", b"Authorization: a", b"Content-Type: t"),
        *(
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: close",
            b"Proxy-Authorization: p",
            b"TE: trailers",
            b"Trailer: X",
        ),
        *(b"HTTP2-Settings: AA", b"X-Three: 3"),
    )
    assert kept == b"\r\nCookie: c\r\nAuthorization: a\r\nContent-Type: t\r\nTrailer: X\r\nX-Three: 3"
    assert (block.closes, block.body, block.accepts_trailers, block.authority) == (True, 3, True, b"a.test")


def test_expectations() -> None:
    block = scan(b"Expect: 100-Continue", b"Content-Length: 3")
    assert block.expects_continue
    assert not is_plain(GET[2], block)
    assert not scan(b"Expect: 100-continue").expects_continue
    assert refusal(b"Expect: 200-ok") == 417
    assert refusal(b"Expect: 100-continue, x") == 417


def test_upgrades() -> None:
    block, kept = scan_all(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    assert (block.upgrade, kept) == (b"websocket", b"\r\nSec-WebSocket-Version: 13")
    assert not is_plain(GET[2], block)
    assert scan(b"Upgrade: websocket").upgrade == b""
    assert scan(b"Connection: upgrade", b"Upgrade: h2c, websocket, HTTP/2.0, TLS/1.0, a b").upgrade == b"websocket"
    assert scan(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 3").upgrade == b""
    assert scan(b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked").upgrade == b""


@pytest.mark.parametrize(
    ("line", "status"),
    [
        *((b"", 400), (b"GET /", 400), (b"GET", 400), (b"GET  / HTTP/1.1", 400), (b"GET / HTTP/1.1 ", 400)),
        *((b" GET / HTTP/1.1", 400), (b"GET\t/ HTTP/1.1", 400), (b"GET / a HTTP/1.1", 400), (b"GET / HTTP/1.1\r", 400)),
        *((b"GET / HTTP/2.0", 505), (b"GET / HTTP/0.9", 505), (b"GET / HTTP/1.2", 505), (b"PRI * HTTP/2.0", 505)),
        *((b"GET / http/1.1", 400), (b"GET / HTTP/1.10", 400), (b"GET / HTTP/01.1", 400), (b"GET / HTTP/1,1", 400)),
        *(
            (b"CONNECT a.test:443 HTTP/1.1", 501),
            (b"TRACE / HTTP/1.1", 501),
            (b"get / HTTP/1.1", 501),
        ),
        *(
            (b"G(T / HTTP/1.1", 400),
            (b"G\x00T / HTTP/1.1", 400),
            (b"G\xc9T / HTTP/1.1", 400),
            (b"\nGET / HTTP/1.1", 400),
        ),
        *(
            (b"GET /\x00 HTTP/1.1", 400),
            (b"GET /\x7f HTTP/1.1", 400),
            (b"GET /\n HTTP/1.1", 400),
            (b"GET /#a HTTP/1.1", 400),
        ),
        *((b"GET /\r HTTP/1.1", 400), (b"GET /\x0b HTTP/1.1", 400), (b"GET /" + b"a" * 9000 + b" HTTP/1.1", 414)),
        (b"A" * 99 + b" / HTTP/1.1", 501),
    ],
)
def test_request_lines_that_are_refused(line: bytes, status: int) -> None:
    assert line_refusal(line) == status


@pytest.mark.parametrize("method", [b"GET", b"M-SEARCH", b"PROPFIND", b"QUERY", b"VERSION-CONTROL", b"BAN"])
def test_methods(method: bytes) -> None:
    assert scan_line(method + b" /caf%e9//a/../%2e?a=b|c HTTP/1.0") == (
        method,
        b"/caf%e9//a/../%2e?a=b|c",
        10,
    )


@pytest.mark.parametrize(
    ("line", "path"),
    [
        *((b"GET /x? HTTP/1.1", b"/x?"), (b"GET //b.test/..%2f HTTP/1.1", b"//b.test/..%2f")),
        *((b"OPTIONS * HTTP/1.1", b"*"), (b"OPTIONS http://a.test HTTP/1.1", b"*")),
        *((b"GET http://A.test HTTP/1.1", b"/"), (b"GET HTTPS://a.test?q HTTP/1.1", b"/?q")),
        (b"GET http://a.test/p?q=http://b.test HTTP/1.1", b"/p?q=http://b.test"),
    ],
)
def test_targets(line: bytes, path: bytes) -> None:
    assert target_path(scan_line(line), scan()) == (path, b"a.test")


@pytest.mark.parametrize(
    "target",
    [
        *(b"http://b.test/", b"http://a.test:80/", b"http://x@a.test/", b"http:///", b"http://a.test\\@b.test/"),
        *(b"a.test:443", b"x", b"*", b"ftp://a.test/", b"http:/a.test/", b"?x", b"\\x", b"http://a.test@b.test/"),
    ],
)
def test_targets_that_are_refused(target: bytes) -> None:
    assert target_refusal(b"GET " + target + b" HTTP/1.1") == 400


def test_many_lines_that_go() -> None:
    ours = [b"X-Real-IP: %d" % number for number in range(40)]
    assert scan_all(b"A: 1", *ours, b"B: 2", b"A: 1")[1] == b"\r\nA: 1\r\nB: 2\r\nA: 1"


def test_http_1_0_has_no_upgrades_nor_expectations() -> None:
    upgrade = scan(b"Connection: upgrade", b"Upgrade: websocket")
    assert as_of_http_1_0(upgrade).upgrade == b""
    expectation = scan(b"Expect: 100-continue", b"Content-Length: 3")
    assert as_of_http_1_0(expectation) == replace(expectation, expects_continue=False)
    assert as_of_http_1_0(scan()) == scan()


def test_http_1_0() -> None:
    assert target_refusal(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked") == 400
    assert not is_plain(OLD[2], scan())
    assert not keeps_open(OLD[2], scan())
    assert keeps_open(OLD[2], scan(b"Connection: keep-alive"))
    assert keeps_open(GET[2], scan())
    assert not keeps_open(GET[2], scan(b"Connection: keep-alive, close"))
