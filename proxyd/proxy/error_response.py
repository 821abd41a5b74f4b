"""What a client sees when there is no answer of the upstream: short, with the request id, nothing of the inside."""

from http import HTTPStatus

from proxyd.core.header_rules import Field
from proxyd.proxy.exchange import Exchange

_MEANING = {
    400: "The request is malformed.",
    421: "This host is not served on this connection.",
    501: "This method is not supported.",
    502: "The application behind this server did not answer properly.",
    503: "The application behind this server is not available.",
    504: "The application behind this server took too long.",
}


def send_error(exchange: Exchange, status: int, request_id: str) -> None:
    """Answer with `status`, whole."""
    phrase = HTTPStatus(status).phrase
    body = f"{status} {phrase}\n{_MEANING.get(status, '')}\nRequest ID: {request_id}\n".encode()
    fields: list[Field] = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Cache-Control", b"no-store"),
        (b"X-Request-ID", request_id.encode()),
    ]
    exchange.start(status, phrase.encode(), fields, len(body))
    if exchange.request.method != "HEAD":
        exchange.write(body)
    exchange.finish()
    exchange.flush()
