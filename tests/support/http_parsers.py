"""Other parsers of HTTP/1.1 to compare ours with: llhttp (by httptools) and aiohttp's two."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

Fields = list[tuple[bytes, bytes]]


class ParsedRequest(NamedTuple):
    """How a parser reads the first request of a stream, and the targets of those that it sees after it."""

    method: bytes
    target: bytes
    version: int
    fields: Fields
    body: bytes
    following: tuple[bytes, ...]


class ParsedResponse(NamedTuple):
    """How a parser reads the first response of a stream; `ended` when its framing says where it ends."""

    status: int
    reason: bytes
    fields: Fields
    body: bytes
    ended: bool


class _Llhttp:
    """Collects what httptools calls back with, for a message at a time."""

    def on_message_begin(self) -> None:
        self.start = self.body = b""
        self.fields: Fields = []
        self.head: Fields = []

    def on_url(self, url: bytes) -> None:
        self.start += url

    def on_status(self, reason: bytes) -> None:
        self.start += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        # What stands after the body is a trailer, which comes by the same callback.
        self.head = list(self.fields)

    def on_body(self, body: bytes) -> None:
        self.body += body


class _Requests(_Llhttp):
    def __init__(self, stream: bytes) -> None:
        self.read: list[ParsedRequest] = []
        self._parser = httptools.HttpRequestParser(self)
        # An upgrade ends what llhttp reads; what it refuses later does not undo what it has read.
        with contextlib.suppress(httptools.HttpParserUpgrade, httptools.HttpParserError):
            self._parser.feed_data(stream)

    def on_message_complete(self) -> None:
        version = int(self._parser.get_http_version().replace(".", ""))
        self.read.append(ParsedRequest(self._parser.get_method(), self.start, version, self.head, self.body, ()))


class _FirstResponse(_Llhttp):
    def __init__(self, stream: bytes) -> None:
        self.read: ParsedResponse | None = None
        self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(stream)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            return
        self._settle(ended=False)

    def on_message_complete(self) -> None:
        self._settle(ended=True)

    def _settle(self, *, ended: bool) -> None:
        if self.read is None and self.head:
            self.read = ParsedResponse(self._parser.get_status_code(), self.start, self.head, self.body, ended)


def by_llhttp(stream: bytes) -> ParsedRequest | None:
    """Return how llhttp reads the first request, or None when it refuses it or does not find its end."""
    requests = _Requests(stream).read
    if not requests:
        return None
    first, *others = requests
    return first._replace(following=tuple(other.target for other in others))


def response_by_llhttp(stream: bytes) -> ParsedResponse | None:
    """Return how llhttp reads a response, or None when it refuses it or anything after it."""
    return _FirstResponse(stream).read


def by_aiohttp(stream: bytes, parser_of: Callable[..., HttpRequestParser] = HttpRequestParser) -> ParsedRequest | None:
    """Return how aiohttp's parser reads the first request, or None as above."""
    loop = asyncio.new_event_loop()
    try:
        parser = parser_of(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
        try:
            messages, _, _ = parser.feed_data(stream)
        except HttpProcessingError:
            return None
        if not messages:
            return None
        (message, payload), *others = messages
        if not payload.is_eof() or payload.exception() is not None:
            return None
        body = payload.read_nowait(-1)
        return ParsedRequest(
            message.method.encode(),
            message.path.encode("utf-8", "surrogateescape"),
            message.version.major * 10 + message.version.minor,
            [(bytes(name), bytes(value)) for name, value in message.raw_headers],
            body,
            tuple(other.path.encode("utf-8", "surrogateescape") for other, _ in others),
        )
    finally:
        loop.close()


def by_aiohttp_in_python(stream: bytes) -> ParsedRequest | None:
    """Return how aiohttp's parser in pure Python reads the first request, or None as above."""
    return by_aiohttp(stream, HttpRequestParserPy)
