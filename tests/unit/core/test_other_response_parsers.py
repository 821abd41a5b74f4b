"""What we read of a response beside what llhttp reads: we may refuse more, but never read anything otherwise."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.body_length import CHUNKED, UNTIL_CLOSE
from proxyd.core.chunked_body import ChunkedBody, MalformedBody
from proxyd.core.response_scanner import MalformedResponse, scan_response
from tests.support.http_parsers import Fields, ParsedResponse, response_by_llhttp

#: Fields that are not passed on, written down once more: what the scanner does is compared with this.
NOT_PASSED_ON = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"content-length", b"upgrade"),
    *(b"expect", b"proxy-authorization", b"proxy-authenticate", b"http2-settings"),
}


def by_ours(stream: bytes) -> ParsedResponse | None:
    head, end, rest = stream.partition(b"\r\n\r\n")
    try:
        found = scan_response(head)
        body, ended = rest, False
        if found.body == CHUNKED:
            pieces, length = ChunkedBody().feed(rest)
            body, ended = b"".join(pieces), length >= 0
        elif found.body != UNTIL_CLOSE:
            body, ended = rest[: found.body], len(rest) >= found.body
    except (MalformedResponse, MalformedBody):
        return None
    if not end:
        return None
    lines = (kept.partition(b":") for kept in found.kept.split(b"\r\n")[1:])
    fields = [(name, value.strip(b" \t")) for name, _, value in lines]
    return ParsedResponse(found.status, found.reason, fields, body, ended)


def passed_on(fields: Fields) -> Fields:
    lines = [value for name, value in fields if name.lower() == b"connection"]
    nominated = {option.strip(b" \t").lower() for line in lines for option in line.split(b",")} & {b"x-one"}
    return [(name, value.strip(b" \t")) for name, value in fields if name.lower() not in NOT_PASSED_ON | nominated]


starts = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not  Found", b"HTTP/1.0 200 ", b"HTTP/1.1 500"] * 5) | (
    st.sampled_from([b"HTTP/1.1 099 x", b"HTTP/2 200 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 20", b"HTTP/1.1 200OK", b""])
)
lines = st.sampled_from(
    [
        *(
            b"Server: x",
            b"Date:now",
            b"Set-Cookie: a\t",
            b"Connection: close",
            b"connection: keep-alive, x-one",
            b"X-One: 1",
        ),
        *(
            b"Keep-Alive: timeout=5",
            b"X: caf\xe9",
            b"ETag:",
            b"Content-Length: 5",
            b"content-length:3 ",
            b"Trailer: X-Sum",
        ),
        *(b"Content-Length: 5, 5", b"Content-Length: +5", b"Transfer-Encoding: gzip", b"Content_Length: 5", b"X : a"),
        *(b" folded", b"no colon", b"Transfer-Encoding: chunked", b"X: a\x00b", b"X: a\rb", b"X: a\nb"),
    ]
)
ends = st.sampled_from([b"\r\n"] * 60 + [b"\n", b"\r", b"\r\r\n", b" \r\n"])
fields = st.lists(st.tuples(lines, ends).map(b"".join), max_size=4).map(b"".join)
framed = st.sampled_from(
    [
        *(
            b"\r\nhello",
            b"Content-Length: 5\r\n\r\nhello",
            b"Content-Length: 9\r\n\r\nhello",
            b"Content-Length: 0\r\n\r\n",
        ),
        *(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n2\r\nxy\r\n0\r\nX-Sum: 1\r\n\r\n",
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Return a response, mostly with some damage."""
    stream = draw(starts) + draw(ends) + b"Server: x\r\n" + draw(fields) + draw(framed)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(stream)))
        put = draw(
            st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\x00", b"\x0b", b":", b";", b"\x80", b"\x7f", b"0"])
        )
        stream = stream[:at] + put + stream[at + draw(st.integers(0, 1)) :]
    return stream


@given(stream=streams())
def test_no_response_is_read_otherwise(stream: bytes) -> None:
    ours = by_ours(stream)
    if ours is None or ours.status in (204, 304) or ours.status < 200:  # of these the status alone ends the head
        return
    theirs = response_by_llhttp(stream)
    if theirs is None and not ours.ended and b"transfer-encoding" in stream.lower():
        return  # they saw sooner that the next chunk cannot be one: neither lets the body end
    assert theirs is not None, "we accepted what llhttp refuses"
    assert ours == theirs._replace(fields=passed_on(theirs.fields))
