"""The head of a response to an HTTP/1.1 client: how its body is framed, and whether the connection lasts."""

from typing import NamedTuple

from proxyd.core.request_head import RequestHead


class WrittenHead(NamedTuple):
    """The bytes; whether the body goes out in chunks; whether the connection may be used again."""

    data: bytes
    in_chunks: bool
    keeps: bool


def response_head(
    request: RequestHead, status: int, reason: bytes, lines: bytes, body: int, *, keeps: bool
) -> WrittenHead:
    """Write the head (RFC 9112 §6.3, §9.3). `body`: its length, else not known yet; `keeps`: if that allows it."""
    is_bodyless = request.method == b"HEAD" or status in (204, 304)
    framing, in_chunks = b"", False
    if body >= 0:
        if status != 204:
            framing = b"\r\nContent-Length: %d" % body
    elif not is_bodyless and request.version == 11:
        in_chunks, framing = True, b"\r\nTransfer-Encoding: chunked"
    elif not is_bodyless:
        keeps = False  # its end is that of the connection
    if not keeps:
        framing += b"\r\nConnection: close"
    elif request.version == 10:
        framing += b"\r\nConnection: keep-alive"
    return WrittenHead(b"HTTP/1.1 %d %b%b%b\r\n\r\n" % (status, reason, lines, framing), in_chunks, keeps)
