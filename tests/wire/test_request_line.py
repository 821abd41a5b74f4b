"""The request line: whatever could be read in two ways is refused, and what is forwarded is not touched."""

import pytest

from tests.support.wire import BY_LLHTTP, HOST, HOST_LINE, SMUGGLED, Wire, cases, raw, request

_REST = b"\r\n" + HOST_LINE + b"\r\n"

MALFORMED = [
    ("two spaces", b"GET  / HTTP/1.1"),
    ("two spaces before the version", b"GET /  HTTP/1.1"),
    ("tab", b"GET\t/ HTTP/1.1"),
    ("tab before the version", b"GET /\tHTTP/1.1"),
    ("vertical tab", b"GET\x0b/ HTTP/1.1"),
    ("form feed", b"GET /\x0cHTTP/1.1"),
    ("no-break space", b"GET\xa0/ HTTP/1.1"),
    ("space before it", b" GET / HTTP/1.1"),
    ("space after it", b"GET / HTTP/1.1 "),
    ("tab after it", b"GET / HTTP/1.1\t"),
    ("space in the target", b"GET /a b HTTP/1.1"),
    ("two requests in one line", b"GET / HTTP/1.1 GET /smuggled HTTP/1.1"),
    ("no target", b"GET HTTP/1.1"),
    ("no method", b"/ HTTP/1.1"),
    ("empty target", b"GET  HTTP/1.1"),
    ("relative target", b"GET index.html HTTP/1.1"),
    ("query only", b"GET ?x HTTP/1.1"),
    ("backslash for a slash", b"GET \\x HTTP/1.1"),
    ("fragment", b"GET /#f HTTP/1.1"),
    ("asterisk for another method than OPTIONS", b"GET * HTTP/1.1"),
    ("asterisk and more", b"OPTIONS *x HTTP/1.1"),
    ("authority for another method than CONNECT", b"GET host.example.test:443 HTTP/1.1"),
    ("NUL in the target", b"GET /\x00 HTTP/1.1"),
    ("NUL in the method", b"GE\x00T / HTTP/1.1"),
    ("NUL after it", b"GET / HTTP/1.1\x00"),
    ("bare CR in the target", b"GET /\rx HTTP/1.1"),
    ("bare CR before the version", b"GET /\r HTTP/1.1"),
    ("bare CR after it", b"GET / HTTP/1.1\r"),
    ("bare LF in the target", b"GET /\nx HTTP/1.1"),
    ("control character in the target", b"GET /\x01 HTTP/1.1"),
    ("DEL in the target", b"GET /\x7f HTTP/1.1"),
    ("separator in the method", b"GE(T / HTTP/1.1"),
    ("colon in the method", b"GET: / HTTP/1.1"),
    ("bytes beyond ASCII in the method", b"G\xc9T / HTTP/1.1"),
    ("version in lower case", b"GET / http/1.1"),
    ("version of another protocol", b"GET / HTTQ/1.1"),
    ("version without a slash", b"GET / HTTP1.1"),
    ("version with a space", b"GET / HTTP/ 1.1"),
    ("version with a comma", b"GET / HTTP/1,1"),
    ("version without a minor", b"GET / HTTP/1"),
    ("version with an empty minor", b"GET / HTTP/1."),
    ("version with more", b"GET / HTTP/1.1x"),
    ("version with a sign", b"GET / HTTP/+1.1"),
    ("version with two digits", b"GET / HTTP/01.1"),
    ("version with a third part", b"GET / HTTP/1.1.1"),
    ("version with a digit beyond ASCII", b"GET / HTTP/1.\xd9\xa1"),
]


@cases(*MALFORMED)
def test_a_malformed_request_line_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(attack + _REST + SMUGGLED, 400, 505)


@cases(
    ("1.2", b"GET / HTTP/1.2"),
    ("1.9", b"GET / HTTP/1.9"),
    ("1.10", b"GET / HTTP/1.10"),
    ("2.0", b"GET / HTTP/2.0"),
    ("3.0", b"GET / HTTP/3.0"),
    ("0.9", b"GET / HTTP/0.9"),
    ("9.9", b"GET / HTTP/9.9"),
)
def test_another_version_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(attack + _REST + SMUGGLED, 400, 505)


@cases(
    ("HTTP/0.9", b"GET /\r\n"),
    ("HTTP/0.9 with an empty line", b"GET /\r\n\r\n"),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("TLS within TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("a PROXY header from nobody who may send one", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + request()),
    ("FastCGI", b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\r\n\r\n"),
)
def test_another_protocol_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(attack, 400, 505)


@cases(
    ("a bare LF ends it", b"GET / HTTP/1.1\n" + HOST_LINE + b"\r\n"),
    ("bare LFs end all lines", raw(b"GET / HTTP/1.1\nHost: host.example.test\n\n")),
    ("LF CR ends it", b"GET / HTTP/1.1\n\r" + HOST_LINE + b"\r\n"),
    ("CR alone ends it", b"GET / HTTP/1.1\r" + HOST_LINE + b"\r\n"),
    ("CR CR LF ends it", b"GET / HTTP/1.1\r\r\n" + HOST_LINE + b"\r\n"),
    ("a bare LF before it", b"\nGET / HTTP/1.1\r\n" + HOST_LINE + b"\r\n"),
    ("a bare CR before it", b"\rGET / HTTP/1.1\r\n" + HOST_LINE + b"\r\n"),
    ("NUL before it", b"\x00GET / HTTP/1.1\r\n" + HOST_LINE + b"\r\n"),
    ("a space on the line before it", b" \r\nGET / HTTP/1.1\r\n" + HOST_LINE + b"\r\n"),
    ("a byte order mark", b"\xef\xbb\xbfGET / HTTP/1.1\r\n" + HOST_LINE + b"\r\n"),
)
def test_another_end_of_line_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(attack + SMUGGLED, 400)


def test_one_empty_line_before_a_request_is_passed_over(wire: Wire) -> None:
    """RFC 9112 §2.2: a robust server does; old clients send one after a body."""
    wire.serves(b"\r\n" + request(target=b"/a") + b"\r\n" + request(target=b"/b"), b"/a", b"/b")


@cases(
    ("CONNECT", b"CONNECT host.example.test:443 HTTP/1.1"),
    ("CONNECT with a path", b"CONNECT / HTTP/1.1"),
    ("CONNECT with a URL", b"CONNECT https://host.example.test/ HTTP/1.1"),
    ("TRACE", b"TRACE / HTTP/1.1"),
    ("TRACE of a proxy", b"TRACE https://host.example.test/ HTTP/1.1"),
    ("TRACK", b"TRACK / HTTP/1.1"),
)
def test_methods_that_are_not_for_a_reverse_proxy_are_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(attack + _REST + SMUGGLED, 400, 405, 501)


@cases(
    ("lower case", b"get"),
    ("mixed case", b"Get"),
    ("the rest of a body and a method", b"xGET"),
    ("a digit before it", b"0GET"),
    ("a sign before it", b"-GET"),
    ("a token of other signs", b"GET!"),
    ("a long one", b"G" * 33),
    ("a very long one", b"G" * 7000),
)
def test_methods_that_look_like_none_are_refused_as_by_nginx(wire: Wire, attack: bytes) -> None:
    """What is left over of a message that was cut differently may begin like this."""
    wire.refuses(attack + b" / HTTP/1.1" + _REST + SMUGGLED, 400, 501)


@pytest.mark.parametrize(
    "method", ["DELETE", "PATCH", "PROPFIND", "PURGE", "M-SEARCH", "VERSION-CONTROL", "QUERY", "BREW", "A_1"]
)
def test_other_methods_are_forwarded(wire: Wire, method: str) -> None:
    if BY_LLHTTP and method in ("VERSION-CONTROL", "BREW", "A_1"):
        wire.refuses(request(method=method.encode(), target=b"/m"), 400)
        return
    (seen,) = wire.serves(request(method=method.encode(), target=b"/m"), b"/m")
    assert seen.method == method.encode()


@pytest.mark.parametrize(
    "target",
    [
        "/x?",
        "/?",
        "/??",
        "/x?a=b?c=d",
        "//",
        "//evil.test/x",
        "/a//b///c",
        "/../x",
        "/a/../../b",
        "/./a/.",
        "/%2e%2e/%2E%2E/x",
        "/%2f%5c%00%0d%0aX:%20y",
        "/%zz%",
        "/a;b=c;d",
        "/a\\b",
        "/<>\"{}|^`'",
        "/~%7e%7E",
        "/a+b%20c",
        "/*",
        "/http://other.example.test/",
        "/a:b@c",
        "/x?q=%C3%A9&r=http://a/b?c",
    ],
)
def test_the_target_is_forwarded_to_the_byte(wire: Wire, target: str) -> None:
    (seen,) = wire.serves(request(target=target.encode()), target.encode())
    assert seen.first == b"GET %b HTTP/1.1" % target.encode()


def test_bytes_beyond_ascii_in_the_target_are_forwarded_as_by_nginx(wire: Wire) -> None:
    target = b"/" + bytes(range(0x80, 0x100)) + "/é€😀?é".encode()
    if BY_LLHTTP:
        wire.refuses(request(target=target), 400)
        return
    (seen,) = wire.serves(request(target=target), target)
    assert seen.target == target


def test_the_asterisk_of_options_is_forwarded(wire: Wire) -> None:
    (seen,) = wire.serves(request(method=b"OPTIONS", target=b"*"), b"*")
    assert seen.first == b"OPTIONS * HTTP/1.1"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("https://HOST/a", "/a"),
        ("https://HOST", "/"),
        ("https://HOST?q", "/?q"),
        ("https://HOST//a/../b?", "//a/../b?"),
        ("HTTPS://HOST/a", "/a"),
        ("https://HOST:8443/a", "/a"),
    ],
)
def test_an_absolute_target_is_forwarded_as_its_path(wire: Wire, target: str, path: str) -> None:
    wire.first()
    authority = target.split("/")[2].split("?")[0].replace("HOST", HOST)
    with wire.client() as client:
        client.send(f"GET {target.replace('HOST', HOST)} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert client.final().body == f"GET {path} ".encode()
    wire.victim()
    seen = wire.upstream.requests()[1]
    assert seen.target == path.encode()
    assert seen.value(b"Host") == authority.encode()
