"""A chunked body, read strictly (RFC 9112 §7.1). What goes on to the next reader is framed anew."""

import re

from proxyd.core.field_names import CLEAN, DROP, FRAMING, HOP_BY_HOP, MALFORMED, OURS, FieldTable


class MalformedBody(ValueError):
    """The body's framing is broken: where the message ends cannot be known, so the connection must close."""


_MAX_LINE = 4096
#: Extensions are dropped unread (RFC 9112 §7.1.1): more than this of them in a body is an attack on our time.
_MAX_EXTENSIONS = 65_536
_MOST_PIECES = 8
_MAX_TRAILERS = 8192
_MAX_TRAILER_LINES = 64
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
#: Without the white space that RFC 9112 §7.1.1 calls bad.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;%b(?:=(?:%b|%b))?)*)" % (_TOKEN, _TOKEN, _QUOTED))
_SIZE_BEGUN = re.compile(rb"[0-9A-Fa-f]{1,15}(?:\r|;.*)?", re.DOTALL)
#: Never after the body (RFC 9110 §6.5.1): framing, routing, authentication, request modifiers, content, and ours.
_FORBIDDEN = (
    HOP_BY_HOP
    | OURS
    | {
        *(b"authorization", b"www-authenticate", b"authentication-info", b"proxy-authentication-info", b"cookie"),
        *(b"set-cookie", b"host", b"trailer", b"cache-control", b"pragma", b"expires", b"age", b"vary", b"location"),
        *(b"date", b"retry-after", b"warning", b"range", b"max-forwards", b"origin", b"referer", b"user-agent", b"via"),
        *(b"strict-transport-security", b"alt-svc"),
    }
)
_FORBIDDEN_PREFIXES = (b"content-", b"if-", b"accept", b"access-control-", b"sec-")
#: What decided already where the body goes and ends: never a trailer of an honest sender.
_DECIDED = FRAMING | {b"host"}
_ACTIONS = FieldTable(dict.fromkeys(_FORBIDDEN, DROP), aliases=_FORBIDDEN)

_SIZE_LINE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)
#: Sizes without extension that were seen before: looking one up is cheaper than reading it.
_SIZES: dict[bytes, int] = {}
_MOST_SIZES = 4096
_LONGEST_KNOWN_SIZE = 8


def kept_trailer(line: bytes) -> bytes:
    """Return a trailer as it is passed on, after a CRLF, or nothing: it means something to us. Raises MalformedBody."""
    name, colon, _ = line.partition(b":")
    action = _ACTIONS[name]
    if name.lower() in _DECIDED:
        raise MalformedBody("framing or Host after the body")
    if not colon or action == MALFORMED or line.translate(CLEAN) != line:
        raise MalformedBody("a trailer that is no header field")
    return b"" if action == DROP or name.lower().startswith(_FORBIDDEN_PREFIXES) else b"\r\n" + line


class ChunkedBody:
    """The state between two reads. `trailers` is the block of trailer lines to pass on, once the end was found."""

    __slots__ = ("_extensions", "_left", "_partial", "_state", "_trailer_bytes", "_trailer_lines", "trailers")

    def __init__(self) -> None:
        self.trailers = b""
        self._state = _SIZE_LINE
        self._left = 0
        self._partial = b""
        self._extensions = 0
        self._trailer_lines: list[bytes] = []
        self._trailer_bytes = 0

    def feed(self, data: bytes, start: int = 0) -> tuple[list[bytes], int]:
        """Return the payload in `data` from `start`, and where the body ended in it, or -1. Raises MalformedBody.

        No piece is empty. Many small ones come as one: what follows costs by the piece.
        """
        position, moved = start, 0
        if self._partial:  # a line goes on: it is short, and so is rare
            moved = start - len(self._partial)
            data, position, self._partial = self._partial + data[start:], 0, b""
        pieces: list[bytes] = []
        size = len(data)
        while position < size:
            if self._state == _DATA:
                end = position + self._left
                if end > size:
                    pieces.append(data[position:])
                    self._left = end - size
                    break
                pieces.append(data[position:end])
                position = end
                self._state = _DATA_END
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._carry(data[position:])
                break
            line = data[position:end]
            position = end + 2
            if self._state == _SIZE_LINE:
                left = _SIZES.get(line)
                if left is None:
                    left = self._size(line)
                end = position + left
                if left == 0:
                    self._state = _TRAILERS
                elif data[end : end + 2] == b"\r\n":  # the whole chunk is here, as most are
                    pieces.append(data[position:end])
                    position = end + 2
                else:
                    self._left = left
                    self._state = _DATA
            elif self._state == _DATA_END:
                if line:
                    raise MalformedBody("a chunk is longer than its size says")
                self._state = _SIZE_LINE
            elif self._state == _DONE:
                raise MalformedBody("fed after its end")
            elif line:
                self._trailer(line)
            else:
                self._state = _DONE
                self.trailers = b"".join(self._trailer_lines)
                return _few(pieces), position + moved
        return _few(pieces), -1

    def _carry(self, partial: bytes) -> None:
        if len(partial) > _MAX_LINE + len(b"\r"):
            raise MalformedBody("too long a line")
        if self._state == _DATA_END and partial != b"\r":
            raise MalformedBody("a chunk is longer than its size says")
        if b"\n" in partial or b"\r" in partial[:-1]:
            raise MalformedBody("a bare line end")
        if self._state == _SIZE_LINE and _SIZE_BEGUN.fullmatch(partial) is None:
            raise MalformedBody("not a chunk size")
        self._partial = partial

    def _size(self, line: bytes) -> int:
        match = _SIZE.fullmatch(line)
        if match is None or len(line) > _MAX_LINE:
            raise MalformedBody("not a chunk size")
        self._extensions += len(match[2])
        if self._extensions > _MAX_EXTENSIONS:
            raise MalformedBody("too many chunk extensions")
        size = int(match[1], 16)
        if not match[2] and len(line) <= _LONGEST_KNOWN_SIZE:
            if len(_SIZES) >= _MOST_SIZES:
                _SIZES.clear()
            _SIZES[line] = size
        return size

    def _trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > _MAX_TRAILERS or len(self._trailer_lines) >= _MAX_TRAILER_LINES:
            raise MalformedBody("too many trailers")
        self._trailer_lines.append(kept_trailer(line))


def _few(pieces: list[bytes]) -> list[bytes]:
    return pieces if len(pieces) <= _MOST_PIECES else [b"".join(pieces)]
