"""What is for one connection only, and what we tell the upstream about the client: nobody else may say it."""

import pytest

from tests.support.raw_upstream import answer
from tests.support.wire import HOST, OURS, Wire, request

_OURS_TO_SAY = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "Forwarded",
    "X-Request-ID",
    "X-Real-IP",
    "Client-Cert",
    "Client-Cert-Chain",
]


def test_what_the_upstream_is_told(wire: Wire) -> None:
    (seen,) = wire.serves(request(target=b"/p"), b"/p")
    assert seen.value(b"Host") == HOST.encode()
    assert seen.value(b"X-Forwarded-For") == b"127.0.0.1"
    assert seen.value(b"X-Forwarded-Proto") == b"https"
    assert seen.value(b"X-Forwarded-Host") == HOST.encode()
    forwarded = dict(part.split(b"=") for part in seen.value(b"Forwarded").split(b";"))
    assert forwarded == {b"for": b"127.0.0.1", b"host": b'"%b"' % HOST.encode(), b"proto": b"https"}
    assert len(seen.value(b"X-Request-ID")) >= 16
    assert not seen.values(b"Via")


def test_every_request_has_an_id_of_its_own(wire: Wire) -> None:
    with wire.client() as client:
        for _ in range(20):
            client.send(request())
            assert client.answer().status == 200
    ids = {one.value(b"X-Request-ID") for one in wire.upstream.requests()}
    assert len(ids) == 20


@pytest.mark.parametrize("name", [*_OURS_TO_SAY, *(one.lower() for one in _OURS_TO_SAY), "X-FORWARDED-FOR"])
def test_what_the_client_says_in_our_name_is_dropped(wire: Wire, name: str) -> None:
    line = name.encode() + b": forged"
    (seen,) = wire.serves(request(line, b"X-Kept: 1", line, line, target=b"/p"), b"/p")
    assert seen.without(*OURS) == [b"X-Kept: 1"]
    assert not any(b"forged" in one for one in seen.lines)


def test_via_is_passed_on_and_not_added_to(wire: Wire) -> None:
    (seen,) = wire.serves(request(b"Via: 1.1 a", b"Via: 1.0 b", target=b"/p"), b"/p")
    assert seen.values(b"Via") == [b"1.1 a", b"1.0 b"]


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: keep-alive",
        b"Connection: x-nothing",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic YTpi",
        b"Proxy-Authenticate: Basic",
        b"TE: gzip",
        b"Upgrade: websocket",
        b"upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: HTTP2-Settings",
    ],
)
def test_hop_by_hop_fields_are_not_forwarded(wire: Wire, line: bytes) -> None:
    (seen,) = wire.serves(request(line, b"X-Kept: 1", target=b"/p"), b"/p")
    assert seen.without(*OURS) == [b"X-Kept: 1"]
    assert {value.lower() for value in seen.values(b"Connection")} <= {b"keep-alive"}


@pytest.mark.parametrize(
    "lines",
    [
        [b"Connection: X-Mine"],
        [b"connection: x-mine"],
        [b"Connection: keep-alive, X-Mine"],
        [b"Connection: X-Mine,keep-alive"],
        [b"Connection: ,, X-MINE ,"],
        [b"Connection: keep-alive", b"Connection: x-mine"],
        [b"Connection: x-mine", b"X-Between: 1", b"Connection: keep-alive"],
        [b"Connection: \t x-mine \t"],
    ],
)
def test_what_any_connection_line_nominates_is_not_forwarded(wire: Wire, lines: list[bytes]) -> None:
    (seen,) = wire.serves(request(b"X-Mine: 1", *lines, b"x-mine: 2", b"X-Kept: 1", target=b"/p"), b"/p")
    assert not seen.values(b"X-Mine")
    assert seen.values(b"X-Kept") == [b"1"]


@pytest.mark.parametrize("separate", [False, True], ids=["one line", "two lines"])
@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "Content-Length",
        "Content-Type",
        "Authorization",
        "Cookie",
        "Cache-Control",
        "Range",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X-Forwarded-Host",
        "Forwarded",
        "X-Request-ID",
        "Via",
    ],
)
def test_a_nomination_cannot_strip_what_is_ours_or_end_to_end(wire: Wire, name: str, separate: bool) -> None:
    """RFC 9110 §7.6.1: a sender must not nominate these. It is ignored or refused."""
    sent = {"Content-Type": "text/x", "Authorization": "Basic YTpi", "Cookie": "a=b", "Cache-Control": "no-cache",
            "Range": "bytes=0-1", "Via": "1.1 a"}  # fmt: skip
    lines = [f"{key}: {value}".encode() for key, value in sent.items()]
    nominations = [b"Connection: keep-alive", b"Connection: " + name.encode()] if separate else []
    nominations = nominations or [b"Connection: keep-alive, " + name.encode()]
    wire.first()
    with wire.client() as client:
        client.send(request(*lines, *nominations, b"Content-Length: 5", method=b"POST", target=b"/p", body=b"hello"))
        status = client.final().status
    wire.victim()
    assert status in (200, 400)
    for seen in (one for one in wire.upstream.requests() if one.target == b"/p"):
        assert seen.body == b"hello"
        assert seen.value(b"Host") == HOST.encode()
        assert len(seen.values(name.encode())) == 1


def test_nominations_that_no_token_is_are_no_way_around(wire: Wire) -> None:
    wire.first()
    for value in (b"close x", b'"close"', b"x-a;q=1", b"\xff", b"a" * 5000):
        with wire.client() as client:
            client.send(request(b"Connection: " + value, target=b"/p"))
            assert client.final().status in (200, 400)
    wire.victim()
    assert set(wire.upstream.targets()) <= {b"/first", b"/p", b"/victim"}


@pytest.mark.parametrize(
    "lines",
    [
        [b"Connection: close"],
        [b"connection: CLOSE"],
        [b"Connection: x, close"],
        [b"Connection: keep-alive, close"],
        [b"Connection: keep-alive", b"Connection: close"],
        [b"Connection: close", b"Connection: keep-alive"],
    ],
)
def test_close_on_any_connection_line_closes(wire: Wire, lines: list[bytes]) -> None:
    with wire.client() as client:
        client.send(request(*lines, target=b"/a") + request(target=b"/smuggled"))
        one = client.answer()
        assert one.body == b"GET /a "
        assert one.value(b"Connection").lower() == b"close"
        assert client.has_ended()
    assert wire.upstream.targets() == [b"/a"]


def test_hop_by_hop_fields_of_an_answer_are_not_relayed(wire: Wire) -> None:
    wire.upstream.script = answer(
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\nConnection: keep-alive\r\nX-Mine: 1\r\n"
        b"Proxy-Connection: x\r\nConnection: x-mine\r\nUpgrade: h2c\r\nX-B: 2\r\nContent-Length: 2\r\n\r\nok"
    )
    seen = wire.get()
    assert seen.without(b"Date") == [b"X-A: 1", b"X-B: 2", b"Content-Length: 2"]


@pytest.mark.parametrize("name", ["Content-Length", "Set-Cookie", "Content-Type", "Content-Encoding"])
def test_an_answer_cannot_nominate_what_is_end_to_end(wire: Wire, name: str) -> None:
    wire.upstream.script = answer(
        b"HTTP/1.1 200 OK\r\nConnection: %b\r\nSet-Cookie: a=b\r\nContent-Type: text/x\r\nContent-Encoding: x\r\n"
        b"Content-Length: 2\r\n\r\nok" % name.encode()
    )
    seen = wire.get()
    assert seen.status in (200, 502)
    if seen.status == 200:
        assert (len(seen.values(name.encode())), seen.body) == (1, b"ok")


def test_close_of_an_answer_is_the_upstreams_own(wire: Wire) -> None:
    """It closes our connection to it, not the client's."""
    wire.upstream.script = answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    with wire.client() as client:
        for _ in range(3):
            client.send(request())
            one = client.answer()
            assert (one.body, one.values(b"Connection")) == (b"ok", [])
    assert len(wire.upstream.peers) == 3
    assert all(peer.has_ended() for peer in wire.upstream.peers)


def test_connections_to_the_upstream_are_used_again(wire: Wire) -> None:
    for _ in range(5):
        wire.victim()
    assert len(wire.upstream.peers) == 1
