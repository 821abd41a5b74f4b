"""The head of a response to an HTTP/1.1 client: how its body is framed, and whether the connection lasts."""

from proxyd.core.request_head import RequestHead


def response_head(
    request: RequestHead, status: int, reason: bytes, lines: bytes, body: int, *, keeps: bool
) -> tuple[bytes, bool, bool]:
    """Write the head (RFC 9112 §6.3, §9.3). `body`: its length, else not known yet; `keeps`: if that allows it.

    Return it, whether the body goes out in chunks, and whether the connection may be used again.
    """
    framing, in_chunks = b"", False
    if body >= 0:
        if status != 204:
            framing = b"\r\nContent-Length: %d" % body
    elif request.method == b"HEAD" or status in (204, 304):
        pass
    elif request.version == 11:
        in_chunks, framing = True, b"\r\nTransfer-Encoding: chunked"
    else:
        keeps = False  # its end is that of the connection
    if not keeps:
        framing += b"\r\nConnection: close"
    elif request.version == 10:
        framing += b"\r\nConnection: keep-alive"
    return b"HTTP/1.1 %d %b%b%b\r\n\r\n" % (status, reason, lines, framing), in_chunks, keeps
