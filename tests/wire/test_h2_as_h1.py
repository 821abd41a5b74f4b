"""The same request over HTTP/1.1 and HTTP/2: the same answer, and the upstream sees the same."""

import itertools
import random
from collections.abc import Callable

import pytest

from tests.support.h2_client import DATA, END_STREAM, H2Client, frame
from tests.support.raw_upstream import Peer
from tests.support.wire import HOST, Wire

#: Told anew for each request, or about the connection.
_PARTICULAR = {"connection", "date", "transfer-encoding", "x-request-id"}
_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "TRACE", "get"]
_PATHS = [
    *("/", "/a?b=c&d", "/a//b/../c", "/%2e%2e/x", "/a%00b", "//evil", "/a;b=c", "/?", '/a"<>|^`{}', "/a\\b"),
    *("/a#b", "/a b", "*", "a", "/" + "a" * 9000, "/status/404", "/status/500", "/status/205", "/fields", "/chunks"),
]
_FIELDS: list[list[tuple[str, str]]] = [
    [],
    [("x-a", "1"), ("x-a", "2"), ("x-empty", ""), ("x-tab", "a\tb")],
    [("cookie", "a=1; b=2"), ("authorization", "Basic bWU6cHc="), ("user-agent", "me")],
    [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "x"), ("x-real-ip", "1")],
    [("forwarded", "for=1"), ("client-cert", ":x:"), ("x-request-id", "mine"), ("x_forwarded_for", "1")],
    [("te", "trailers"), ("proxy-authorization", "x"), ("http2-settings", "x"), ("via", "1.1 x")],
    [("expect", "100-continue")],
    [("expect", "magic")],
    [("x-large", "a" * 15_000)],
    [("x-large", "a" * 17_000)],
    [(f"x-{number}", "a") for number in range(98)],
    [(f"x-{number}", "a") for number in range(110)],
    [("accept-encoding", "gzip"), ("range", "bytes=0-1"), ("if-none-match", '"a"'), ("priority", "u=1, i")],
]
_BODIES = [None, b"hi", b"x" * 20_000]
_AUTHORITIES = [HOST.upper(), f"{HOST}:443", f"{HOST}:9", f"{HOST}.", f"u@{HOST}", f"{HOST}:99999", f"{HOST}/x"]
_AUTHORITIES += ["unknown.example.test", "[::1]", "127.0.0.1", "", f"{HOST}:"]

_REFUSALS = {400, 414, 417, 431, 501}

_Request = tuple[str, str, list[tuple[str, str]], bytes | None, str]
_Answer = tuple[int, list[tuple[str, str]], bytes]


def _application(peer: Peer) -> None:
    one = peer.request()
    status = one.target.rpartition(b"/")[2] if one.target.startswith(b"/status/") else b"200"
    body = b"" if status == b"205" else b"%b %b %b" % (one.method, one.target[:100], one.body[:100])
    more = b"Content-Length: %d\r\n" % len(body)
    if one.target == b"/fields":
        more += b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nServer: me\r\nX-UPPER: y\r\n"
    elif one.target == b"/chunks":
        more, body = b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    peer.send(b"HTTP/1.1 %b X\r\n%b\r\n%b" % (status, more, b"" if one.method == b"HEAD" else body))


def _requests() -> list[_Request]:
    """Return each peculiarity alone."""
    found: list[_Request] = [(method, "/m", [], body, HOST) for method in _METHODS for body in _BODIES]
    found += [("GET", path, [], None, HOST) for path in _PATHS]
    found += [("GET", "/f", fields, None, HOST) for fields in _FIELDS]
    return found + [("GET", "/h", [], None, authority) for authority in _AUTHORITIES]


def _mixtures() -> list[_Request]:
    every = [*itertools.product(_METHODS, _PATHS, _FIELDS, _BODIES)]
    return [(*one, HOST) for one in random.Random(9113).sample(every, 200)]


def _of_upstream(wire: Wire) -> list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]]:
    """Return what it was asked since the last time; that a POST has no body only HTTP/2 can know, and says."""
    found = []
    for one in wire.upstream.requests():
        fields = sorted((name.lower(), value) for name, value in one.fields if name.lower() != b"x-request-id")
        if one.method in (b"POST", b"PUT", b"PATCH") and (b"content-length", b"0") in fields:
            fields.remove((b"content-length", b"0"))
        found.append((one.method, one.target, fields, one.body))
    wire.upstream.reset()
    wire.upstream.script = _application
    return found


def _by_h1(wire: Wire, request: _Request) -> _Answer:
    method, path, fields, body, authority = request
    lines = [f"{method} {path} HTTP/1.1", f"Host: {authority}", *(f"{name}: {value}" for name, value in fields)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    with wire.client() as client:
        client.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        answer = client.final(method=method.encode())
        return answer.status, [(name.decode(), value.decode()) for name, value in answer.fields], answer.body


def _by_h2(client: H2Client, request: _Request) -> _Answer:
    method, path, fields, body, authority = request
    start = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *fields]
    if body is not None:
        start.append(("content-length", str(len(body))))
    client.send(client.head(start, ends=body is None))
    stream = client.last
    pieces = [] if body is None else [body[at : at + 16_384] for at in range(0, len(body), 16_384)]
    for place, piece in enumerate(pieces, 1):
        client.send(frame(DATA, END_STREAM if place == len(pieces) else 0, stream, piece))
    answer = client.answer(stream)
    assert answer.reset is None, request
    return answer.status, answer.fields[1:], answer.body


def _essence(answer: _Answer) -> _Answer:
    status, fields, body = answer
    kept = sorted((name.lower(), value) for name, value in fields if name.lower() not in _PARTICULAR)
    return status, kept, body.partition(b"Request ID: ")[0]


@pytest.mark.parametrize("requests", [_requests, _mixtures])
def test_both_versions_are_served_alike(wire: Wire, requests: Callable[[], list[_Request]]) -> None:
    """Of several faults either may be told: the request line of HTTP/1.1 is read before its fields."""
    wire.upstream.script = _application
    with wire.h2_client() as client:
        for one in requests():
            shown = one[0], one[1][:40], str(one[2])[:80], len(one[3] or b""), one[4]
            first, first_seen = _essence(_by_h1(wire, one)), _of_upstream(wire)
            second, second_seen = _essence(_by_h2(client, one)), _of_upstream(wire)
            assert first_seen == second_seen, shown
            if requests is _requests or first[0] not in _REFUSALS:
                assert first == second, shown
            else:
                assert second[0] in _REFUSALS, shown
