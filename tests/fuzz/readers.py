"""What must hold for any bytes that a client, a balancer or an upstream sends."""

from proxyd.core import client_hello, proxy_protocol
from proxyd.core.body_length import CHUNKED, NO_BODY
from proxyd.core.chunked_body import MalformedBody
from proxyd.core.client_hello import ClientHello, NotClientHello
from proxyd.core.proxy_protocol import NotProxyHeader, ProxyHeader
from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import MalformedRequest
from proxyd.core.response_scanner import MalformedResponse, scan_response
from proxyd.frontend.body_reader import BodyReader
from proxyd.frontend.head_reader import HeadLimits, HeadReader
from proxyd.proxy.upstream_head import upstream_head
from tests.support import wire_message


def hello(data: bytes) -> None:
    """A hello asks for more until it is there, never for what it has; what follows it does not matter."""
    try:
        found = client_hello.parse(data)
    except NotClientHello:
        return
    if not isinstance(found, ClientHello):
        assert len(data) < found.total <= client_hello.MAX_BYTES
        return
    assert client_hello.parse(data + b"more") == found
    _grows(data, client_hello.parse, found)


def proxy_header(data: bytes) -> None:
    """A PROXY header is taken off whole, and what follows it is the client's."""
    try:
        found = proxy_protocol.parse(data)
    except NotProxyHeader:
        return
    if not isinstance(found, ProxyHeader):
        assert len(data) < found.total <= proxy_protocol.MAX_BYTES
        return
    assert found.length <= len(data)
    assert (found.source is None) == (found.destination is None)
    assert proxy_protocol.parse(data[: found.length]) == found == proxy_protocol.parse(data + b"GET / ")
    _grows(data[: found.length], proxy_protocol.parse, found)


def _grows(data: bytes, parse: object, found: object) -> None:
    """Reading what is asked for, again and again, comes to the same."""
    assert callable(parse)
    have = 0
    while (now := parse(data[:have])) != found:
        assert have < now.total <= len(data)
        have = now.total


def requests(data: bytes) -> None:
    """What is passed on can be read in one way only, and as what the client sent, whatever came before it.

    The last request before it has taught the reader of the connection something.
    """
    limits = HeadLimits()
    taught, rest = HeadReader(limits), data
    for _ in range(8):
        before = rest
        heads = [_head(one, before) for one in (taught, HeadReader(limits))]
        assert heads[0] == heads[1], heads
        if (found := heads[0]) is None:
            return
        head, end = found
        rest = _passed_on(head, before, end)
        if rest == before:
            return


def _head(reader: HeadReader, data: bytes) -> tuple[RequestHead, int] | None:
    try:
        return reader.read(data)
    except MalformedRequest as error:
        assert 400 <= error.status < 600
        return None


def _passed_on(head: RequestHead, data: bytes, end: int) -> bytes:
    """Return what follows the request; nothing: its body is not here, or is malformed."""
    body, size, trailers = b"", head.block.body, b""
    reader = BodyReader(size)
    if size != NO_BODY:
        try:
            pieces, ended = reader.feed(data[end:])
        except MalformedBody:
            return b""
        if ended < 0:
            return b""
        body, trailers, end = b"".join(pieces), reader.trailers, end + ended
    written = upstream_head(head, head.authority, b"\r\nX-Forwarded-For: 192.0.2.1", "1")
    written += b"%x\r\n%b\r\n0%b\r\n\r\n" % (len(body), body, trailers) if size == CHUNKED and body else b""
    written += (b"0%b\r\n\r\n" % trailers) if size == CHUNKED and not body else body if size != CHUNKED else b""
    seen, left = wire_message.request(written)
    assert not left
    assert (seen.method, seen.target, seen.body) == (head.method, head.path, body)
    assert len(seen.values(b"X-Forwarded-For")) == 1
    assert len(seen.values(b"X-Request-ID")) == 1
    return data[end:]


def responses(data: bytes) -> None:
    """An upstream's head that is passed on is one response, without a line that frames or one that we write."""
    head, end, rest = data.partition(b"\r\n\r\n")
    try:
        found = scan_response(head)
    except MalformedResponse:
        return
    written = b"HTTP/1.1 %d %b%b\r\nContent-Length: 0\r\n\r\n" % (found.status, found.reason, found.kept)
    if found.status >= 200 and found.status not in (204, 304):
        seen, left = wire_message.response(written)
        assert not left
        assert seen.values(b"Connection") == seen.values(b"Transfer-Encoding") == []
    if (end and found.body > 0) or found.body == CHUNKED:
        _pieces_are_one(found.body, rest)


def _pieces_are_one(size: int, data: bytes) -> None:
    """However the bytes of a body are cut, they are the same body."""
    outcomes: list[tuple[bytes, int, bytes] | None] = []
    for step in (len(data) or 1, 1, 7):
        reader, payload, end, position = BodyReader(size), b"", -1, 0
        try:
            while position < len(data) and end < 0:
                pieces, end = reader.feed(data[position : position + step])
                payload += b"".join(pieces)
                end += position if end >= 0 else 0
                position += step
        except MalformedBody:
            outcomes.append(None)
        else:
            outcomes.append((payload, end, reader.trailers))
    assert outcomes[0] == outcomes[1] == outcomes[2]
