"""What an upstream gets is the same, to the byte, whether our front reads a request or aiohttp (`fast_path`)."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.wire import HOST_LINE, Wire, request, running

#: Each a connection of its own; the last request of each closes it.
CLOSE = b"Connection: close"
CHUNKED = b"Transfer-Encoding: chunked"
REQUESTS = {
    "plain": request(CLOSE),
    "target": request(CLOSE, target=b"/a//../%2e%2E/b;x=1?&=?"),
    "absolute": request(CLOSE, target=b"http://host.example.test/x?"),
    "star": request(CLOSE, method=b"OPTIONS", target=b"*"),
    "browser": request(
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
        b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        b"accept-encoding:gzip, br",
        b"Cookie:  a=b;  c=d ",
        b"cookie: e=\xe4",
        CLOSE,
    ),
    "forged": request(b"X-Forwarded-For: 6.6.6.6", b"X_Forwarded_Proto: http", b"Forwarded: for=6.6.6.6", CLOSE),
    "nominated": request(
        b"Connection: X-One, close, Cookie", b"X-One: 1", b"Cookie: a=b", b"Keep-Alive: 5", b"TE: gzip"
    ),
    "head": request(CLOSE, method=b"HEAD"),
    "body": request(b"Content-Length: 5", CLOSE, method=b"POST", body=b"hello"),
    "no body": request(b"Content-Length: 0", CLOSE, method=b"PUT"),
    "large body": request(b"Content-Length: 300000", CLOSE, method=b"PUT", body=b"x" * 300_000),
    "chunks": request(CHUNKED, CLOSE, method=b"POST", body=b"5;a=b\r\nhello\r\n3\r\n, a\r\n0\r\n\r\n"),
    "trailers": request(CHUNKED, b"Trailer: X-Sum", CLOSE, method=b"POST", body=b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"),
    "pipelined": request(target=b"/1") + request(b"Content-Length: 1", method=b"POST", body=b"x") + request(CLOSE),
    "1.0": b"GET /old HTTP/1.0\r\n" + HOST_LINE + b"\r\n",
    "expects": request(b"Content-Length: 2", b"Expect: 100-continue", CLOSE, method=b"POST", body=b"ok"),
}
_ID = re.compile(rb"X-Request-ID: [0-9a-f]+")
_CHUNK = re.compile(rb"[0-9a-f]+\r\n(.*?)\r\n", re.DOTALL)


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Wire]]:
    with ExitStack() as stack:
        made = (running(tmp_path_factory.mktemp("front"), {}, {"fast_path": fast_path}) for fast_path in (True, False))
        yield [stack.enter_context(one) for one in made]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_upstream_cannot_tell_them_apart(fronts: list[Wire], name: str) -> None:
    seen, answers = [], []
    for wire in fronts:
        wire.upstream.reset()
        with wire.client() as client:
            client.send(REQUESTS[name])
            method = REQUESTS[name].split(b" ")[0]
            answer = client.answer(method)
            while answer.status == 100:
                answer = client.answer(method)
            answers.append((answer.status, answer.body))
            assert client.has_ended(5) or name == "pipelined"
        found = sorted(_ID.sub(b"X-Request-ID: 1", peer.received) for peer in wire.upstream.peers)
        # How a body is cut into chunks is up to the network.
        seen.append([_CHUNK.sub(rb"\1", one) if name in ("chunks", "trailers") else one for one in found])
    assert seen[0] == seen[1]
    assert seen[0]
    assert answers[0] == answers[1]
