"""Answers of our own."""

from http import HTTPStatus
from typing import NamedTuple

from proxyd.proxy.exchange import Exchange

TEXT = b"text/plain; charset=utf-8"
_PHRASES = {one.value: one.phrase.encode() for one in HTTPStatus}
HTML = b"text/html; charset=utf-8"


class Answer(NamedTuple):
    """What is said instead of an upstream's answer; without a body of its own, in the words for its status.

    `content_type` None: it is said as it is, even without a body.
    """

    status: int
    body: bytes = b""
    content_type: bytes | None = TEXT
    lines: bytes = b""


def send_answer(
    exchange: Exchange, status: int, body: bytes, *, content_type: bytes | None = TEXT, lines: bytes = b""
) -> None:
    """Answer with `status`, whole; `lines`: more header lines, each after a CRLF."""
    head = lines if content_type is None else b"\r\nContent-Type: %b%b" % (content_type, lines)
    exchange.start(status, _PHRASES.get(status, b""), head, len(body))
    if exchange.request.method != b"HEAD":
        exchange.write(body)
    exchange.finish()
