"""A body over the limit: 413 before the upstream hears of it where its length is told, and never a complete request."""

from typing import Any

import pytest

from tests.support.wire import LINGERING, SMUGGLED, Wire, request


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    return {"max_body": 1000}


@pytest.mark.parametrize("size", [1001, 5000, 10**12, 10**17])
def test_a_length_over_the_limit_is_refused_before_the_upstream_hears_of_it(wire: Wire, size: int) -> None:
    wire.refuses(request(b"Content-Length: %d" % size, method=b"POST", body=b"x" * 100 + SMUGGLED), 413)


def test_it_is_refused_before_the_body_is_sent(wire: Wire) -> None:
    with wire.client() as client:
        client.send(request(b"Content-Length: 1001", b"Expect: 100-continue", method=b"POST"))
        assert client.answer().status == 413
        assert client.has_ended(LINGERING)
    assert not wire.upstream.received()


def test_the_answer_is_not_lost_while_the_client_still_sends(wire: Wire) -> None:
    """A close at once would destroy it on the way."""
    with wire.client() as client:
        client.send(request(b"Content-Length: 3000000", method=b"POST"), *[bytes(10_000)] * 300)
        assert client.answer().status == 413


def test_chunks_over_the_limit_are_cut_off(wire: Wire) -> None:
    chunk = b"1f4\r\n" + bytes(500) + b"\r\n"
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Transfer-Encoding: chunked", method=b"POST", body=chunk * 2))
        peer = wire.upstream.accept()
        peer.head()
        client.send(b"1\r\nx\r\n")
        assert client.answer().status == 413
        client.send(SMUGGLED)
        assert client.has_ended(LINGERING)
    assert peer.has_ended()
    assert b"0\r\n\r\n" not in peer.received
    assert b"smuggled" not in peer.received


def test_chunks_that_come_at_once_are_refused_once(wire: Wire) -> None:
    """What follows the one that is too much goes to nobody."""
    with wire.client() as client:
        client.send(request(b"Transfer-Encoding: chunked", method=b"POST"))
        client.send((b"1f4\r\n" + bytes(500) + b"\r\n") * 7)
        assert client.answer().status == 413
        assert client.has_ended(LINGERING)
        assert client.how_it_ended == "closed"


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_bodies_up_to_the_limit_pass(wire: Wire, size: int) -> None:
    body = b"x" * size
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
    with wire.client() as client:
        client.send(request(b"Content-Length: %d" % size, method=b"POST", target=b"/p", body=body))
        assert client.answer().body == b"POST /p " + body
        client.send(request(b"Transfer-Encoding: chunked", method=b"POST", target=b"/p", body=chunked))
        assert client.answer().body == b"POST /p " + body
