"""The chunks of a request: malformed ones never become a complete request at the upstream."""

import pytest

from tests.support.wire import HOST_LINE, SMUGGLED, Wire, cases, request

_HEAD = b"POST /smuggled HTTP/1.1\r\n" + HOST_LINE + b"Transfer-Encoding: chunked\r\n\r\n"


@cases(
    ("a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("negative", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("not a number", b"g\r\nhello\r\n0\r\n\r\n"),
    ("empty", b"\r\nhello\r\n0\r\n\r\n"),
    ("an empty line before it", b"\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("a space before it", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("a space after it", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("a tab after it", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("vertical tab after it", b"5\x0b\r\nhello\r\n0\r\n\r\n"),
    ("NUL after it", b"5\x00\r\nhello\r\n0\r\n\r\n"),
    ("digits beyond ASCII", "\uff15\r\nhello\r\n0\r\n\r\n".encode()),
    ("more than 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("64 bits", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    ("63 bits and one", b"8000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("zeros without end", b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n"),
)
def test_an_obscure_chunk_size_is_refused(wire: Wire, attack: bytes) -> None:
    wire.cuts_off(_HEAD + attack + SMUGGLED)


@cases(
    ("LF ends the size", b"5\nhello\r\n0\r\n\r\n"),
    ("CR ends the size", b"5\rhello\r\n0\r\n\r\n"),
    ("CR and another byte end the size", b"5\rXhello\r\n0\r\n\r\n"),
    ("CR CR LF ends the size", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ("LF ends the data", b"5\r\nhello\n0\r\n\r\n"),
    ("CR ends the data", b"5\r\nhello\r0\r\n\r\n"),
    ("two other bytes end the data", b"5\r\nhelloXX0\r\n\r\n"),
    ("LF LF ends the data", b"5\r\nhello\n\n0\r\n\r\n"),
    ("nothing ends the data", b"5\r\nhello0\r\n\r\n"),
    ("more data than the size", b"5\r\nhello world\r\n0\r\n\r\n"),
    ("less data than the size", b"6\r\nhello\r\n0\r\n\r\n"),
    ("LF ends the last chunk", b"5\r\nhello\r\n0\n\r\n"),
    ("LF ends the trailers", b"5\r\nhello\r\n0\r\n\n"),
    ("CR ends the trailers", b"5\r\nhello\r\n0\r\n\rX"),
    ("CR CR LF ends the trailers", b"5\r\nhello\r\n0\r\n\r\r\n"),
    ("LF LF", b"5\nhello\n0\n\n"),
)
def test_another_end_of_line_among_chunks_is_refused(wire: Wire, attack: bytes) -> None:
    wire.cuts_off(_HEAD + attack + SMUGGLED)


@cases(
    ("LF in it", b"5;a\nhello\r\n0\r\n\r\n"),
    ("TERM.EXT: LF, then what may be a size", b"2;\nxx\r\n45\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nX: \r\n0\r\n\r\n"),
    ("CR in it", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("NUL in it", b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
    ("LF in a quoted value", b'5;a="\n"\r\nhello\r\n0\r\n\r\n'),
    ("CR LF in a quoted value", b'5;a="\r\nhello"\r\n0\r\n\r\n'),
    ("without a semicolon", b"5 a\r\nhello\r\n0\r\n\r\n"),
    ("with a comma", b"5,a\r\nhello\r\n0\r\n\r\n"),
    ("before the size", b";a=5\r\nhello\r\n0\r\n\r\n"),
    ("without end", b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"),
    ("LF in that of the last chunk", b"5\r\nhello\r\n0;a\n\r\n\r\n"),
)  # fmt: skip
def test_an_obscure_chunk_extension_is_refused(wire: Wire, attack: bytes) -> None:
    wire.cuts_off(_HEAD + attack + SMUGGLED)


@pytest.mark.parametrize("line", [b"5;a=b", b"5;a", b"5;a=b;c=d", b'5;a="b;c"', b"05", b"0000000005"])
def test_chunk_extensions_are_not_forwarded(wire: Wire, line: bytes) -> None:
    """Nor leading zeros: the upstream sees sizes as we write them."""
    body = line + b"\r\nhello\r\n0;last=1\r\n\r\n"
    (seen,) = wire.serves(request(b"Transfer-Encoding: chunked", method=b"POST", target=b"/p", body=body), b"/p")
    assert seen.body == b"hello"


def test_chunk_extensions_that_cost_more_than_the_data_are_refused(wire: Wire) -> None:
    """A byte of data with each 4 KiB of extension: no more than nuisance, for as long as it goes on."""
    attack = b"".join(b"1;" + b"a" * 4000 + b"\r\nx\r\n" for _ in range(300))
    wire.cuts_off(_HEAD + attack + b"0\r\n\r\n" + SMUGGLED)


@cases(
    ("a space before the colon", b"X : y\r\n"),
    ("folded", b"X: y\r\n z\r\n"),
    ("no colon", b"X\r\n"),
    ("no name", b": y\r\n"),
    ("NUL", b"X: \x00\r\n"),
    ("bare CR", b"X: y\rZ: z\r\n"),
    ("bare LF", b"X: y\nZ: z\r\n"),
    ("too much", b"X: " + b"y" * 70_000 + b"\r\n"),
    ("too many", b"X: y\r\n" * 2000),
)
def test_malformed_trailers_are_refused(wire: Wire, attack: bytes) -> None:
    wire.cuts_off(_HEAD + b"5\r\nhello\r\n0\r\n" + attack + b"\r\n" + SMUGGLED)


@pytest.mark.parametrize(
    "trailer",
    [
        b"Content-Length: 50",
        b"Transfer-Encoding: chunked",
        b"Host: other.example.test",
        b"X-Forwarded-For: 6.6.6.6",
        b"X_Forwarded_For: 6.6.6.6",
        b"Forwarded: for=6.6.6.6",
        b"X-Request-ID: 1",
        b"Client-Cert: :YQ==:",
        b"Authorization: Basic YTpi",
        b"Cookie: a=b",
        b"Connection: close",
        b"Content-Type: text/html",
        b"Content-Encoding: gzip",
        b"Trailer: X",
        b"TE: trailers",
        b"Expect: 100-continue",
        b"Upgrade: websocket",
        b"Cache-Control: no-store",
        b"Range: bytes=0-0",
    ],
)
def test_a_trailer_is_never_taken_for_a_field_of_the_head(wire: Wire, trailer: bytes) -> None:
    """It may be refused; it is not forwarded."""
    wire.first()
    body = b"5\r\nhello\r\n0\r\n" + trailer + b"\r\nX-Checksum: 1\r\n\r\n"
    with wire.client() as client:
        client.send(request(b"Transfer-Encoding: chunked", method=b"POST", target=b"/p", body=body))
        data = client.some()
        assert data.split(b" ")[1] in (b"200", b"400")
    wire.victim()
    name = trailer.split(b":")[0].lower()
    for received in wire.upstream.received():
        assert received.lower().count(b"\r\n" + name) == received.lower().count(b" http/1.1\r\n") * (
            name in (b"host", b"x-forwarded-for", b"forwarded", b"x-request-id")
        ) + (name == b"transfer-encoding" and b"/p" in received)


def test_a_trailer_is_forwarded(wire: Wire) -> None:
    body = b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nx-other:2\r\n\r\n"
    lines = (b"Transfer-Encoding: chunked", b"Trailer: X-Checksum, x-other")
    (seen,) = wire.serves(request(*lines, method=b"POST", target=b"/p", body=body), b"/p")
    assert (seen.body, seen.trailers) == (b"hello", (b"X-Checksum: 1", b"x-other:2"))


def test_chunks_are_forwarded_when_they_come(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Transfer-Encoding: chunked", method=b"POST"))
        peer = wire.upstream.accept()
        peer.head()
        for part in (b"a", b"bc", b"d" * 1000):
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
            assert peer.exactly(len(b"%x\r\n%b\r\n" % (len(part), part))).split(b"\r\n")[1] == part
        client.send(b"0\r\n\r\n")
        assert peer.exactly(5) == b"0\r\n\r\n"
        peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.final().status == 204


@pytest.mark.parametrize(
    "part", [b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0", b"5\r\nhello\r\n0\r\n"]
)
def test_a_chunked_body_that_ends_early_never_looks_complete(wire: Wire, part: bytes) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(_HEAD + part)
        peer = wire.upstream.accept()
        peer.head()
    assert peer.has_ended()
    assert not peer.received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("sent", [0, 1, 999])
def test_a_body_shorter_than_its_length_never_looks_complete(wire: Wire, sent: int) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        client.send(request(b"Content-Length: 1000", method=b"POST", body=b"x" * sent))
        peer = wire.upstream.accept()
        head = peer.head()
    assert peer.has_ended()
    assert len(peer.received) - len(head) <= sent
