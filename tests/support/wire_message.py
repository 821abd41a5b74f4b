"""An HTTP/1.1 parser for tests, independent of the program: it refuses what two readers could read in two ways."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_REQUEST_LINE = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d) ([^\x00-\x08\x0a-\x1f\x7f]*)")
_FIELD = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_EXTENDED_LINE = re.compile(rb"[0-9A-Fa-f]{1,15}(;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_END = b"\r\n\r\n"


class Incomplete(Exception):
    """More bytes are needed."""


class Ambiguous(Exception):
    """Not one well-formed message."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A request or a response as it stood on the wire. `lines` and `trailers`: field lines without their CRLF."""

    first: bytes
    lines: tuple[bytes, ...]
    body: bytes = b""
    chunked: bool = False
    trailers: tuple[bytes, ...] = ()

    @property
    def method(self) -> bytes:
        return self.first.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.first.split(b" ")[1]

    @property
    def status(self) -> int:
        return int(self.first.split(b" ")[1])

    @property
    def reason(self) -> bytes:
        return self.first.split(b" ", 2)[2]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return names as written and values without the white space around them, in order."""
        return [_field(line) for line in self.lines]

    def values(self, name: bytes) -> list[bytes]:
        """Return what stands under a name, in order."""
        return [value for found, value in map(_field, self.lines) if found.lower() == name.lower()]

    def value(self, name: bytes) -> bytes:
        (one,) = self.values(name)
        return one

    def without(self, *names: bytes) -> list[bytes]:
        """Return the lines that stand under other names, in order."""
        left_out = {name.lower() for name in names}
        return [line for line in self.lines if _field(line)[0].lower() not in left_out]


def requests(data: bytes) -> tuple[list[Message], bytes]:
    """Return the complete requests in what one connection carried, and the rest. Raises Ambiguous."""
    found = []
    while data:
        try:
            one, data = request(data)
        except Incomplete:
            break
        found.append(one)
    return found, data


def request(data: bytes, *, is_original: bool = False) -> tuple[Message, bytes]:
    """Return the first request and what follows it. Raises Incomplete, Ambiguous.

    `is_original`: as its sender wrote it, with what is read in one way only and not passed on: chunk extensions, zeros
    before numbers.
    """
    first, lines, rest = _head(data)
    if not _REQUEST_LINE.fullmatch(first):
        raise Ambiguous(f"request line {first!r}")
    head = Message(first=first, lines=lines)
    if len(head.values(b"Host")) != 1:
        raise Ambiguous(f"Host {lines!r}")
    return _with_body(head, rest, default=0, is_original=is_original)


def response(
    data: bytes, *, method: bytes = b"GET", ended: bool = False, is_original: bool = False
) -> tuple[Message, bytes]:
    """Return the first response, interim or final, and what follows it. `ended`: the connection was closed."""
    first, lines, rest = _head(data)
    if is_original and first.count(b" ") == 1:
        first += b" "  # many leave it out when there is no reason
    if not _STATUS_LINE.fullmatch(first):
        raise Ambiguous(f"status line {first!r}")
    head = Message(first=first, lines=lines)
    if method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        if head.status < 200 and (head.values(b"Content-Length") or head.values(b"Transfer-Encoding")):
            raise Ambiguous("an interim response with a length")
        return head, rest
    return _with_body(head, rest, default=None if not ended else len(rest), is_original=is_original)


def _head(data: bytes) -> tuple[bytes, tuple[bytes, ...], bytes]:
    head, end, rest = data.partition(_END)
    if not end:
        raise Incomplete(data[-200:])
    first, *lines = head.split(b"\r\n")
    for line in lines:
        _field(line)
    return first, tuple(lines), rest


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise Ambiguous(f"field line {line!r}")
    return match[1], match[2]


def _with_body(head: Message, rest: bytes, *, default: int | None, is_original: bool = False) -> tuple[Message, bytes]:
    codings, lengths = head.values(b"Transfer-Encoding"), head.values(b"Content-Length")
    if len(codings) + len(lengths) > 1:
        raise Ambiguous(f"framing {head.lines!r}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Ambiguous(f"transfer coding {codings[0]!r}")
        body, trailers, rest = _chunked(rest, _EXTENDED_LINE if is_original else _CHUNK_LINE)
        return Message(first=head.first, lines=head.lines, body=body, chunked=True, trailers=trailers), rest
    if lengths and not re.fullmatch(rb"[0-9]{1,18}" if is_original else rb"0|[1-9][0-9]*", lengths[0]):
        raise Ambiguous(f"length {lengths[0]!r}")
    length = int(lengths[0]) if lengths else default
    if length is None or len(rest) < length:
        raise Incomplete(rest[-200:])
    return Message(first=head.first, lines=head.lines, body=rest[:length]), rest[length:]


def _chunked(data: bytes, line: re.Pattern[bytes]) -> tuple[bytes, tuple[bytes, ...], bytes]:
    body: list[bytes] = []
    for size, after in _chunks(data, line):
        if size == 0:
            block, end, rest = after.partition(_END)
            if after.startswith(b"\r\n"):
                return b"".join(body), (), after[2:]
            if not end:
                raise Incomplete(after[-200:])
            trailers = tuple(block.split(b"\r\n"))
            for trailer in trailers:
                _field(trailer)
            return b"".join(body), trailers, rest
        body.append(after[:size])
    raise AssertionError("unreachable")


def _chunks(data: bytes, form: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Incomplete(line[-200:])
        if not form.fullmatch(line):
            raise Ambiguous(f"chunk line {line!r}")
        size = int(line.split(b";")[0], 16)
        yield size, data
        if len(data) < size + 2:
            raise Incomplete(data[-200:])
        if data[size : size + 2] != b"\r\n":
            raise Ambiguous(f"after a chunk: {data[size : size + 2]!r}")
        data = data[size + 2 :]
