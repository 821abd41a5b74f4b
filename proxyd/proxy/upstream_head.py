"""The head of a request as the upstream gets it: the client's lines as written, what is ours, and the framing anew."""

from proxyd.core.body_length import CHUNKED
from proxyd.core.request_head import RequestHead


def upstream_head(request: RequestHead, authority: bytes, forwarded: bytes, request_id: str) -> bytes:
    """Write the head. `forwarded`: the header lines that tell who asks."""
    block = request.block
    more = b""
    if block.body > 0:
        more = b"\r\nContent-Length: %d" % block.body
    elif block.body == CHUNKED:
        more = b"\r\nTransfer-Encoding: chunked"
    elif block.length_zero:
        more = b"\r\nContent-Length: 0"
    if block.expects_continue:
        more += b"\r\nExpect: 100-continue"
    if block.upgrade:
        more += b"\r\nConnection: Upgrade\r\nUpgrade: " + block.upgrade
    elif block.accepts_trailers:
        more += b"\r\nConnection: TE\r\nTE: trailers"
    return b"%b %b HTTP/1.1\r\nHost: %b%b%b\r\nX-Request-ID: %b%b\r\n\r\n" % (
        request.method,
        request.path,
        authority,
        request.kept,
        forwarded,
        request_id.encode(),
        more,
    )
