"""Field lines: malformed ones are refused, and all others reach the upstream to the byte, in order."""

import pytest

from tests.support.wire import HOST_LINE, OURS, SMUGGLED, Wire, cases, request

_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@cases(
    ("a space before the colon", b"X : y\r\n"),
    ("a tab before the colon", b"X\t: y\r\n"),
    ("a space before the name", b" X: y\r\n"),
    ("a tab before the name", b"\tX: y\r\n"),
    ("a space in the name", b"X Y: z\r\n"),
    ("no name", b": y\r\n"),
    ("no colon", b"X\r\n"),
    ("no colon, with a space", b"X y\r\n"),
    ("a blank line that is not empty", b" \r\nX: y\r\n"),
    ("obs-fold", b"X: y\r\n z\r\n"),
    ("obs-fold by a tab", b"X: y\r\n\tz\r\n"),
    ("obs-fold of nothing", b"X: y\r\n \r\n"),
    ("obs-fold of the last line", b"X: y\r\n Content-Length: 5\r\n"),
    ("NUL in the name", b"X\x00Y: z\r\n"),
    ("NUL in the value", b"X: y\x00z\r\n"),
    ("NUL after the value", b"X: y\x00\r\n"),
    ("bare CR in the value", b"X: y\rz\r\n"),
    ("bare CR after the value", b"X: y\r\r\n"),
    ("bare CR before the value", b"X:\r y\r\n"),
    ("bare CR before the name", b"\rX: y\r\n"),
    ("bare CR for a line", b"X: y\r\rZ: z\r\n"),
    ("bare LF in the value", b"X: y\nz\r\n"),
    ("bare LF ends a line", b"X: y\nZ: z\r\n"),
    ("bare LF before the name", b"\nX: y\r\n"),
    ("LF CR ends a line", b"X: y\n\rZ: z\r\n"),
    ("bare LFs end the head", b"X: y\n\nGET /smuggled HTTP/1.1\r\n"),
    ("bare CRs end the head", b"X: y\r\rGET /smuggled HTTP/1.1\r\n"),
    ("LF CR LF ends the head", b"X: y\n\r\nGET /smuggled HTTP/1.1\r\n"),
    ("CR LF LF ends the head", b"X: y\r\n\nGET /smuggled HTTP/1.1\r\n"),
)
def test_a_malformed_field_line_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(b"GET /smuggled HTTP/1.1\r\n" + HOST_LINE + attack + b"\r\n" + SMUGGLED, 400)


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_malformed_field_line_is_refused_wherever_it_stands(wire: Wire, place: str) -> None:
    lines = b" X: y\r\n" + HOST_LINE if place == "first" else HOST_LINE + b"X: y\r\nZ : z\r\n"
    wire.refuses(b"GET /smuggled HTTP/1.1\r\n" + lines + b"\r\n" + SMUGGLED, 400)


def test_no_byte_but_those_of_a_token_is_taken_in_a_name(wire: Wire) -> None:
    wire.first()
    for byte in set(range(256)) - set(_TOKEN) - set(b":"):
        wire.is_refused(request(b"X%cY: z" % byte, target=b"/smuggled") + SMUGGLED)
    wire.victim()
    assert wire.upstream.targets() == [b"/first", b"/victim"]


def test_no_control_character_is_taken_in_a_value_stricter_than_nginx(wire: Wire) -> None:
    wire.first()
    for byte in (*set(range(32)) - set(b"\t"), 127):
        wire.is_refused(request(b"X: y%cz" % byte, target=b"/smuggled") + SMUGGLED)
    wire.victim()
    assert wire.upstream.targets() == [b"/first", b"/victim"]


def test_all_other_bytes_are_forwarded_as_they_came(wire: Wire) -> None:
    """Also what is not UTF-8."""
    lines = [
        b"X-All: " + bytes(set(range(33, 256)) - {127}) + b" \t" + bytes(range(128, 160)) + b"x",
        b"X-Latin: caf\xe9 \xff\xfe\xc3\x28",
        b"X-Utf8: " + "é€😀".encode(),
        b"X-Separators: (),/:;<=>?@[\\]{}\"'`",
        *(b"x-%c: %c" % (byte, byte) for byte in _TOKEN),
    ]
    lines = lines[:4] + [line for line in lines[4:] if line[2:3] not in b"_."][:70]
    (seen,) = wire.serves(request(*lines, target=b"/p"), b"/p")
    assert seen.without(*OURS) == lines


def test_case_order_and_doubles_of_lines_are_kept(wire: Wire) -> None:
    lines = [
        b"x-B: 1",
        b"X-a: 2",
        b"X-b: 3",
        b"cookie: a=b",
        b"Cookie: c=d",
        b"ACCEPT: x",
        b"x-A:4",
        b"X-Empty:",
        b"z: 5",
    ]
    (seen,) = wire.serves(request(*lines, target=b"/p"), b"/p")
    assert seen.without(*OURS) == lines


def test_nothing_is_invented(wire: Wire) -> None:
    """No User-Agent, Accept, Accept-Encoding, Content-Type, nor framing."""
    seen = wire.serves(
        request(target=b"/a") + request(b"Content-Length: 5", method=b"POST", target=b"/b", body=b"hello"), b"/a", b"/b"
    )
    for one in seen:
        assert one.without(*OURS) == []
    assert [line for line in seen[0].lines if line.lower().startswith((b"content", b"transfer"))] == []
    assert {line.split(b":")[0] for line in seen[1].lines if line.lower().startswith((b"content", b"transfer"))} == {
        b"Content-Length"
    }


@pytest.mark.parametrize(
    "name",
    [
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x_forwarded-for",
        "X.Forwarded.For",
        "X_Forwarded_Proto",
        "X_Forwarded_Host",
        "X.Forwarded-Host",
        "X_Forwarded_Port",
        "X_Request_ID",
        "X.Request.ID",
        "X_Real_IP",
        "Client_Cert",
        "Client.Cert",
        "Client_Cert_Chain",
    ],
)
def test_an_alias_of_ours_is_refused_or_not_forwarded(wire: Wire, name: str) -> None:
    wire.first()
    with wire.client() as client:
        client.send(request(name.encode() + b": forged", b"X-Kept: 1", target=b"/p"))
        assert client.final().status in (200, 400)
    wire.victim()
    for data in wire.upstream.received():
        assert b"forged" not in data


@pytest.mark.parametrize("name", ["X_Custom", "my.header", "__", "X-Forwarded-For-Real", "XForwardedFor"])
def test_a_name_like_ours_that_is_none_is_forwarded(wire: Wire, name: str) -> None:
    line = name.encode() + b": 1"
    (seen,) = wire.serves(request(line, target=b"/p"), b"/p")
    assert seen.without(*OURS) == [line]


@cases(
    ("one line too long", b"X: " + b"y" * 17_000 + b"\r\n"),
    ("one name too long", b"X" * 17_000 + b": y\r\n"),
    ("all lines too long", b"".join(b"X-%d: " % number + b"y" * 1000 + b"\r\n" for number in range(20))),
    ("too many lines", b"".join(b"X-%d: y\r\n" % number for number in range(101))),
    ("far too much", b"".join(b"X-%d: " % number + b"y" * 10_000 + b"\r\n" for number in range(20))),
)
def test_a_head_over_the_limits_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(b"GET /smuggled HTTP/1.1\r\n" + HOST_LINE + attack + b"\r\n" + SMUGGLED, 431)


def test_a_target_over_the_limit_is_refused(wire: Wire) -> None:
    wire.refuses(request(target=b"/" + b"x" * 8192) + SMUGGLED, 414)


def test_a_line_that_never_ends_is_refused(wire: Wire) -> None:
    for start, statuses in ((b"GET /", {414, 431}), (b"G", {400, 414, 431}), (b"GET / HTTP/1.1\r\nX: ", {431})):
        wire.is_refused(start + b"x" * 70_000, *statuses)
    assert not wire.upstream.received()


def test_heads_at_the_limits_are_served(wire: Wire) -> None:
    target = b"/" + b"x" * 8000
    wire.serves(request(target=target), target)
    wire.upstream.reset()
    lines = [b"X-%d: y" % number for number in range(99)]
    (seen,) = wire.serves(request(*lines, target=b"/p"), b"/p")
    assert seen.without(*OURS) == lines
    wire.upstream.reset()
    (seen,) = wire.serves(request(b"X: " + b"y" * 15_000, target=b"/p"), b"/p")
    assert seen.value(b"X") == b"y" * 15_000
