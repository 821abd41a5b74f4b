import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.chunked_body import ChunkedBody, MalformedBody


def read(data: bytes) -> tuple[bytes, int, bytes]:
    body = ChunkedBody()
    pieces, end = body.feed(data)
    return b"".join(pieces), end, body.trailers


def read_bytewise(data: bytes) -> None:
    body = ChunkedBody()
    for byte in data:
        body.feed(bytes((byte,)))


def test_a_body_with_extensions_and_what_follows() -> None:
    data = b'5;a="b;\\"c";d\r\nhello\r\n00A;x=y\r\n0123456789\r\n0;z\r\n\r\nGET /'
    assert read(data) == (b"hello0123456789", len(data) - 5, b"")


def test_start() -> None:
    assert ChunkedBody().feed(b"head1\r\nx\r\n0\r\n\r\n", 4) == ([b"x"], 15)


def test_trailers_that_may_not_follow_a_body_go() -> None:
    names = (
        *(b"X-Sum", b"Age", b"X_Forwarded_For", b"Authorization", b"Cookie"),
        *(b"Content-Type", b"Set-Cookie", b"Connection", b"Trailer", b"Server-Timing", b"If-Match"),
    )
    data = b"0\r\n" + b"".join(name + b": a\r\n" for name in names) + b"\r\n"
    assert read(data) == (b"", len(data), b"\r\nX-Sum: a\r\nServer-Timing: a")


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5 ;a\r\n",
            b"+5\r\n",
            b"-5\r\n",
            b"0x5\r\n",
            b"5_0\r\n",
            b"g\r\n",
            b";a\r\n",
            b"5\n",
        ),
        *(
            b"5\rhello",
            b"5\r\rhello",
            b"5;a\x00\r\n",
            b"5;a\rb\r\n",
            b"5;a\nb\r\n",
            b"1" * 16 + b"\r\n",
            b"5;" + b"a" * 5000,
        ),
        *(
            b"5;" + b"a" * 4095 + b"\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1\r\naX",
            b"1\r\na\r0",
            b"2\r\na\r\n0\r\n\r\n",
        ),
        *(
            b"0\r\nX : a\r\n\r\n",
            b"0\r\n X: a\r\n\r\n",
            b"0\r\nX\r\n\r\n",
            b"0\r\nX: a\x00\r\n\r\n",
            b"0\r\nX: a\n\r\n",
            b"0\r\n\n",
        ),
        *(b"0\r\n\r\r", b"0\r\nX: a\rb\r\n\r\n", b"0\r\n: a\r\n\r\n", b"0\r\n" + b"X: a\r\n" * 65 + b"\r\n"),
        *(
            b"0\r\n" + (b"X: " + b"a" * 4000 + b"\r\n") * 3,
            (b"1;" + b"a" * 4000 + b"\r\na\r\n") * 20,
            b"0\r\nContent_Length: 1\r\n",
            b"0\r\nHost: a\r\n",
            b"0\r\ncontent-length: 1\r\n",
            b"0\r\nTransfer-Encoding: x\r\n",
            b"5;\r\n",
            b"5;;a\r\n",
            b"5;a=\r\n",
            b'5;a="\r\n',
            b"5; a\r\n",
            b"5;a =b\r\n",
            b'5;a="b"c\r\n',
            b"5;a=b=c\r\n",
        ),
    ],
)
def test_broken_framing_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        read(data)
    with pytest.raises(MalformedBody):
        read_bytewise(data)


def test_many_small_chunks_come_as_one_piece_and_none_is_empty() -> None:
    assert ChunkedBody().feed(b"1\r\nx\r\n" * 100) == ([b"x" * 100], -1)
    assert ChunkedBody().feed(b"1\r\nx\r\n" * 3 + b"2\r\n") == ([b"x"] * 3, -1)
    assert ChunkedBody().feed(b"1\r\nx\r\n" * 100 + b"0\r\n\r\n") == ([b"x" * 100], 605)


def test_what_is_no_size_is_refused_before_its_line_ends() -> None:
    for begun in (b"x", b"5x", b"hello", b" ", b"5 ", b"1" * 16, b"-", b"\x00", b";"):
        with pytest.raises(MalformedBody):
            read(begun)
    for begun in (b"5", b"1" * 15, b"5\r", b"5;", b"5;a=", b"0;a\r"):
        assert read(begun) == (b"", -1, b"")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.lists(st.integers(1, 9)), st.binary(max_size=9))
def test_however_it_is_cut_the_body_is_the_same(chunks: list[bytes], cuts: list[int], after: bytes) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX: y\r\n\r\n"
    body, found, position = ChunkedBody(), b"", 0
    for cut in (*cuts, len(data)):
        piece = (data + after)[position : position + cut]
        pieces, end = body.feed(piece)
        found += b"".join(pieces)
        if end >= 0:
            assert position + end == len(data)
            break
        position += cut
    else:
        raise AssertionError("no end")
    assert (found, body.trailers) == (b"".join(chunks), b"\r\nX: y")


def verdict(stream: bytes, cuts: list[int]) -> tuple[bytes, int, bytes] | None:
    """Return payload, end and trailers as read in pieces of these sizes, the last one over and over; None: refused."""
    body, found, position = ChunkedBody(), b"", 0
    sizes = iter(cuts)
    size = len(stream)
    while position < len(stream):
        size = next(sizes, size)
        try:
            pieces, end = body.feed(b"." + stream[position : position + size], 1)
        except MalformedBody:
            return None
        found += b"".join(pieces)
        if end >= 0:
            return found, position + end - 1, body.trailers
        position += size
    return found, -1, b""


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    b"5\r\nhello\r\n",
                    b"1;a=b\r\nx\r\n",
                    b'3;a="\\""\r\n\r\n0\r\n',
                    b"0\r\n\r\n",
                    b"0\r\nX-Sum: 1\r\n\r\n",
                    b"2\r\n",
                ),
                *(
                    b"0\r\n",
                    b"\r\n",
                    b"\r",
                    b"\n",
                    b"a",
                    b";",
                    b"1",
                    b" ",
                    b"X: y\r\n",
                    b"Age: 1\r\n",
                    b"\x00",
                    b"GET / HTTP/1.1\r\n",
                ),
            ]
        ),
        max_size=8,
    ).map(b"".join),
    st.lists(st.integers(1, 12), min_size=1, max_size=8),
)
def test_however_it_is_cut_the_verdict_is_the_same(stream: bytes, cuts: list[int]) -> None:
    whole = verdict(stream, [])
    assert verdict(stream, cuts) == whole
    assert verdict(stream, [1]) == whole
