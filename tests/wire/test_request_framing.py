"""How long a request is: every reader says the same, or it is refused before the upstream hears of it."""

import pytest

from tests.support.wire import BY_LLHTTP, HOST_LINE, LINGERING, SMUGGLED, Wire, cases, raw, request

_CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


def post(fields: bytes, body: bytes = b"hello") -> bytes:
    return b"POST /smuggled HTTP/1.1\r\n" + HOST_LINE + fields + b"\r\n" + body + SMUGGLED


@cases(
    ("two that differ", b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    ("two that differ, zero first", b"Content-Length: 0\r\nContent-Length: 5\r\n"),
    ("two that differ, zero last", b"Content-Length: 5\r\nContent-Length: 0\r\n"),
    ("two alike, stricter than RFC 9112", b"Content-Length: 5\r\nContent-Length: 5\r\n"),
    ("two in different case, apart", b"Content-Length: 5\r\nX: y\r\ncontent-lengtH: 5\r\n"),
    ("a list of two alike, stricter than RFC 9112", b"Content-Length: 5, 5\r\n"),
    ("a list of two that differ", b"Content-Length: 5, 6\r\n"),
    ("a list with nothing after the comma", b"Content-Length: 5,\r\n"),
    ("a sign", b"Content-Length: +5\r\n"),
    ("negative", b"Content-Length: -5\r\n"),
    ("negative zero", b"Content-Length: -0\r\n"),
    ("hexadecimal", b"Content-Length: 0x5\r\n"),
    ("a fraction", b"Content-Length: 5.0\r\n"),
    ("an exponent", b"Content-Length: 5e0\r\n"),
    ("an underscore", b"Content-Length: 0_5\r\n"),
    ("a parameter", b"Content-Length: 5;q=1\r\n"),
    ("two numbers", b"Content-Length: 5 5\r\n"),
    ("a letter after it", b"Content-Length: 5b\r\n"),
    ("quotes", b'Content-Length: "5"\r\n'),
    ("empty", b"Content-Length:\r\n"),
    ("blank", b"Content-Length: \t\r\n"),
    ("digits beyond ASCII", "Content-Length: \u0665\r\n".encode()),
    ("superscript", "Content-Length: \u2075\r\n".encode()),
    ("no-break space before it", b"Content-Length:\xa05\r\n"),
    ("vertical tab before it", b"Content-Length: \x0b5\r\n"),
    ("vertical tab after it", b"Content-Length: 5\x0b\r\n"),
    ("NUL after it", b"Content-Length: 5\x00\r\n"),
    ("bare CR before it", b"Content-Length:\r5\r\n"),
    ("bare CR after it", b"Content-Length: 5\r\r\n"),
    ("bare LF before it", b"Content-Length:\n5\r\n"),
    ("more than 64 bits", b"Content-Length: 18446744073709551621\r\n"),
    ("63 bits and one", b"Content-Length: 9223372036854775808\r\n"),
    ("a thousand digits", b"Content-Length: " + b"9" * 1000 + b"\r\n"),
    ("a thousand zeros before it", b"Content-Length: " + b"0" * 1000 + b"5\r\n"),
    ("folded", b"Content-Length:\r\n 5\r\n"),
    ("a fold after it", b"Content-Length: 5\r\n 0\r\n"),
    ("a space before the colon", b"Content-Length : 5\r\n"),
    ("a tab before the colon", b"Content-Length\t: 5\r\n"),
    ("a space before it", b"X: y\r\n Content-Length: 5\r\n"),
    ("a space in it", b"Content -Length: 5\r\n"),
    ("NUL in it", b"Content-Length\x00: 5\r\n"),
)
def test_an_ambiguous_length_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(post(attack), 400, 413)


@cases(
    ("length first", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("length last", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("length zero", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ("another case", b"content-length: 5\r\ntransfer-encoding: CHUNKED\r\n"),
    ("identity", b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n"),
    ("empty coding", b"Content-Length: 5\r\nTransfer-Encoding:\r\n"),
    ("coding nominated by Connection", b"Connection: Transfer-Encoding\r\n"
     b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("length nominated by Connection", b"Connection: Content-Length\r\n"
     b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
)  # fmt: skip
def test_a_length_beside_a_transfer_coding_is_refused_stricter_than_rfc_9112(wire: Wire, attack: bytes) -> None:
    wire.refuses(post(attack, _CHUNKED), 400, 501)


@cases(
    ("unknown", b"Transfer-Encoding: x\r\n"),
    ("a letter before it", b"Transfer-Encoding: xchunked\r\n"),
    ("a letter after it", b"Transfer-Encoding: chunkedx\r\n"),
    ("shortened", b"Transfer-Encoding: chunk\r\n"),
    ("identity", b"Transfer-Encoding: identity\r\n"),
    ("identity after it", b"Transfer-Encoding: chunked, identity\r\n"),
    ("identity before it", b"Transfer-Encoding: identity, chunked\r\n"),
    ("gzip alone", b"Transfer-Encoding: gzip\r\n"),
    ("gzip before it", b"Transfer-Encoding: gzip, chunked\r\n"),
    ("gzip after it", b"Transfer-Encoding: chunked, gzip\r\n"),
    ("twice", b"Transfer-Encoding: chunked, chunked\r\n"),
    ("two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("two lines, the first unknown", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"),
    ("two lines, the last unknown", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
    ("two lines, apart and in another case", b"Transfer-Encoding: chunked\r\nX: y\r\ntransfer-encoding: identity\r\n"),
    ("two lines, one empty", b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"),
    ("empty", b"Transfer-Encoding:\r\n"),
    ("a comma before it", b"Transfer-Encoding: , chunked\r\n"),
    ("a comma after it", b"Transfer-Encoding: chunked,\r\n"),
    ("a parameter", b"Transfer-Encoding: chunked;x=y\r\n"),
    ("a semicolon", b"Transfer-Encoding: chunked;\r\n"),
    ("quotes", b'Transfer-Encoding: "chunked"\r\n'),
    ("single quotes", b"Transfer-Encoding: 'chunked'\r\n"),
    ("a space within", b"Transfer-Encoding: chun ked\r\n"),
    ("vertical tab before it", b"Transfer-Encoding:\x0bchunked\r\n"),
    ("form feed before it", b"Transfer-Encoding: \x0cchunked\r\n"),
    ("vertical tab after it", b"Transfer-Encoding: chunked\x0b\r\n"),
    ("no-break space before it", b"Transfer-Encoding:\xa0chunked\r\n"),
    ("NUL before it", b"Transfer-Encoding: \x00chunked\r\n"),
    ("NUL after it", b"Transfer-Encoding: chunked\x00\r\n"),
    ("bare CR before it", b"Transfer-Encoding:\rchunked\r\n"),
    ("bare CR after it", b"Transfer-Encoding: chunked\r\r\n"),
    ("bare LF before it", b"Transfer-Encoding:\nchunked\r\n"),
    ("folded", b"Transfer-Encoding:\r\n chunked\r\n"),
    ("folded by a tab", b"Transfer-Encoding:\r\n\tchunked\r\n"),
    ("a fold after it", b"Transfer-Encoding: chunked\r\n x\r\n"),
    ("a space before the colon", b"Transfer-Encoding : chunked\r\n"),
    ("a tab before the colon", b"Transfer-Encoding\t: chunked\r\n"),
    ("a space before it", b"X: y\r\n Transfer-Encoding: chunked\r\n"),
    ("a vertical tab before it", b"X: y\r\n\x0bTransfer-Encoding: chunked\r\n"),
    ("hidden behind a bare LF", b"X: y\nTransfer-Encoding: chunked\r\n"),
    ("hidden behind a bare CR", b"X: y\rTransfer-Encoding: chunked\r\n"),
    ("hidden behind CR CR LF", b"X: y\r\r\nTransfer-Encoding: chunked\r\n"),
    ("hidden behind a NUL", b"X: y\x00\r\nTransfer-Encoding: chunked\r\n"),
    ("NUL in it", b"Transfer-Encoding\x00: chunked\r\n"),
    ("letters beyond ASCII", "Transfer-Encoding: chun\u212aed\r\n".encode()),
)
def test_an_obscure_transfer_coding_is_refused(wire: Wire, attack: bytes) -> None:
    wire.refuses(post(attack, _CHUNKED), 400, 501)


@cases(
    ("transfer coding", b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("transfer coding with a dot", b"Transfer.Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("length", b"Content_Length: 50\r\nContent-Length: 5\r\n"),
    ("length with a dot", b"Content.Length: 50\r\nContent-Length: 5\r\n"),
)
def test_what_an_application_could_take_for_framing_is_refused_or_not_forwarded(wire: Wire, attack: bytes) -> None:
    wire.first()
    with wire.client() as client:
        client.send(b"POST /post HTTP/1.1\r\n" + HOST_LINE + attack + b"\r\nhello")
        assert client.final().status in (200, 400)
    wire.victim()
    for one in wire.upstream.requests():
        assert not [
            line for line in one.lines if line.startswith((b"Transfer_", b"Transfer.", b"Content_", b"Content."))
        ]
        assert one.body == (b"hello" if one.method == b"POST" else b"")


@pytest.mark.parametrize(
    "fields", [b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"]
)
def test_a_transfer_coding_in_http_1_0_is_refused(wire: Wire, fields: bytes) -> None:
    wire.refuses(post(fields, _CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400)


@cases(
    ("0.CL", raw(b"GET /a HTTP/1.1\r\nHOST\r\nContent-Length: 7\r\n\r\nGET /smGET /b HTTP/1.1\r\nHOST\r\n\r\n")),
    ("OPTIONS", raw(b"OPTIONS /a HTTP/1.1\r\nHOST\r\nContent-Length: 7\r\n\r\nGET /smGET /b HTTP/1.1\r\nHOST\r\n\r\n")),
    ("chunked", raw(b"GET /a HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nGET /sm\r\n0\r\n\r\n"
                    b"GET /b HTTP/1.1\r\nHOST\r\n\r\n")),
)  # fmt: skip
def test_the_body_of_a_get_is_its_body(wire: Wire, attack: bytes) -> None:
    seen = wire.serves(attack, b"/a", b"/b")
    assert [one.body for one in seen] == [b"GET /sm", b""]


def test_the_body_of_a_head_is_its_body(wire: Wire) -> None:
    with wire.client() as client:
        client.send(
            request(b"Content-Length: 7", method=b"HEAD", target=b"/a", body=b"GET /sm") + request(target=b"/b")
        )
        assert client.final(b"HEAD").status == 200
        assert client.final().body == b"GET /b "
    assert [(one.target, one.body) for one in wire.upstream.requests()] == [(b"/a", b"GET /sm"), (b"/b", b"")]


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:chunked",
        b"TRANSFER-ENCODING: \t chunked \t ",
        b"Transfer-Encoding: Chunked",
    ],
)
def test_a_chunked_body_is_forwarded_whole(wire: Wire, line: bytes) -> None:
    sent = request(line, method=b"POST", target=b"/p", body=b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    if BY_LLHTTP and b"\t" in line:
        wire.refuses(sent, 400)
        return
    (seen,) = wire.serves(sent, b"/p")
    assert seen.body == b"hello world"


@pytest.mark.parametrize("line", [b"Content-Length: 5", b"content-length:5", b"CONTENT-LENGTH: \t 5 \t "])
def test_a_body_with_a_length_is_forwarded_whole(wire: Wire, line: bytes) -> None:
    (seen,) = wire.serves(request(line, method=b"POST", target=b"/p", body=b"hello"), b"/p")
    assert (seen.body, seen.value(b"Content-Length")) == (b"hello", b"5")


def test_a_length_of_zero_stays_and_none_is_invented(wire: Wire) -> None:
    sent = request(b"Content-Length: 0", method=b"POST", target=b"/zero") + request(method=b"POST", target=b"/none")
    zero, none = wire.serves(sent, b"/zero", b"/none")
    assert zero.values(b"Content-Length") == [b"0"]
    assert not none.values(b"Content-Length") + none.values(b"Transfer-Encoding")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_requests_in_pieces_are_those_in_one(wire: Wire, size: int) -> None:
    sent = (
        request(target=b"/a")
        + request(b"Content-Length: 5", method=b"POST", target=b"/b", body=b"hello")
        + request(b"Transfer-Encoding: chunked", method=b"POST", target=b"/c", body=b"A\r\n0123456789\r\n0\r\n\r\n")
        + request(target=b"/d")
    )
    with wire.client() as client:
        client.send(*(sent[at : at + size] for at in range(0, len(sent), size)))
        assert [client.final().body for _ in range(4)] == [
            b"GET /a ",
            b"POST /b hello",
            b"POST /c 0123456789",
            b"GET /d ",
        ]
    assert [one.body for one in wire.upstream.requests()] == [b"", b"hello", b"0123456789", b""]


def test_a_hundred_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    with wire.client() as client:
        client.send(b"".join(request(target=b"/%d" % number) for number in range(100)))
        assert [client.final().body for _ in range(100)] == [b"GET /%d " % number for number in range(100)]


def test_what_follows_a_malformed_request_is_not_read(wire: Wire) -> None:
    """The requests before it are answered."""
    with wire.client() as client:
        client.send(request(target=b"/a") + request(b"Bad : 1", target=b"/smuggled") + SMUGGLED)
        assert [client.final().status for _ in range(2)] == [200, 400]
        assert client.has_ended(LINGERING)
    assert wire.upstream.targets() == [b"/a"]
