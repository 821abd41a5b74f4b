"""Other parsers of HTTP/1.1 to compare ours with: llhttp (by httptools) and aiohttp's two."""

import asyncio
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


class _Llhttp:
    def __init__(self) -> None:
        self.requests: list[ParsedRequest] = []
        self.failed = False
        self._parser = httptools.HttpRequestParser(self)

    def read(self, stream: bytes) -> None:
        try:
            self._parser.feed_data(stream)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            self.failed = True

    def on_message_begin(self) -> None:
        self._target, self._fields, self._body = b"", Fields(), b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        # What stands after the head is a trailer, which comes by the same callback.
        self._head = list(self._fields)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        version = int(self._parser.get_http_version().replace(".", ""))
        method = self._parser.get_method()
        self.requests.append(ParsedRequest(method, self._target, version, self._head, self._body, ()))


def by_llhttp(stream: bytes) -> ParsedRequest | None:
    """Return how llhttp reads the first request, or None when it refuses it or does not find its end."""
    parser = _Llhttp()
    parser.read(stream)
    if not parser.requests:
        return None
    first, *others = parser.requests
    return first._replace(following=tuple(other.target for other in others))


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
