"""What a client sees when there is no answer of the upstream: short, with the request id, nothing of the inside."""

from http import HTTPStatus

from proxyd.proxy.exchange import Exchange
from proxyd.upstream.connection import UpstreamError
from proxyd.upstream.dialer import ConnectFailed
from proxyd.upstream.group import UpstreamGroup

#: When to ask again after what this machine lacked: descriptors, ports.
_SHORTLY = 1
_MEANING = {
    400: "The request is malformed.",
    401: "A user name and a password are needed.",
    403: "This is not open to you.",
    408: "The request did not come in time.",
    413: "The request body is too large.",
    414: "The request target is too long.",
    417: "What the request expects cannot be met.",
    421: "This host is not served on this connection.",
    429: "Too many requests came from your address: try again later.",
    431: "The request header is too large.",
    501: "This method is not supported.",
    502: "The application behind this server did not answer properly.",
    503: "The application behind this server is not available.",
    504: "The application behind this server took too long.",
    505: "This HTTP version is not supported.",
}


def retry_after(seconds: int) -> bytes:
    """Return the line that tells when to ask again."""
    return b"\r\nRetry-After: %d" % seconds


def answer_to(error: UpstreamError, group: UpstreamGroup) -> tuple[int, bytes]:
    """Return the status for the failure of an upstream, and the lines that go with it."""
    if isinstance(error, ConnectFailed) and error.is_ours:
        return 503, retry_after(_SHORTLY)
    if isinstance(error, ConnectFailed) and not group.is_available():
        return 503, retry_after(group.unavailable()[1])
    return 504 if error.timed_out else 502, b""


def send_error(exchange: Exchange, status: int, request_id: str, *, lines: bytes = b"") -> None:
    """Answer with `status`, whole; `lines`: more header lines."""
    phrase = HTTPStatus(status).phrase
    body = f"{status} {phrase}\n{_MEANING.get(status, '')}\nRequest ID: {request_id}\n".encode()
    head = b"\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nX-Request-ID: %b%b"
    exchange.start(status, phrase.encode(), head % (request_id.encode(), lines), len(body))
    if exchange.request.method != b"HEAD":
        exchange.write(body)
    exchange.finish()
