"""A chunked body, read strictly (RFC 9112 §7.1). What goes on to the next reader is framed anew."""

import re

from proxyd.core.field_names import DROP, HOP_BY_HOP, MALFORMED, OURS, FieldTable


class MalformedBody(ValueError):
    """The body's framing is broken: where the message ends cannot be known, so the connection must close."""


_MAX_LINE = 4096
#: Extensions are dropped unread (RFC 9112 §7.1.1): more than this of them in a body is an attack on our time.
_MAX_EXTENSIONS = 65_536
_MAX_TRAILERS = 8192
_MAX_TRAILER_LINES = 64
_IN_LINES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]*)?")
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
_ACTIONS = FieldTable(dict.fromkeys(_FORBIDDEN, DROP), aliases=_FORBIDDEN)

_SIZE_LINE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


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
        """Return the payload in `data` from `start`, and where the body ended in it, or -1. Raises MalformedBody."""
        pieces: list[bytes] = []
        position = start
        size = len(data)
        while position < size:
            if self._state == _DATA:
                end = position + self._left
                if end > size:
                    pieces.append(data[position:])
                    self._left = end - size
                    return pieces, -1
                pieces.append(data[position:end])
                position = end
                self._state = _DATA_END
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._partial += data[position:]
                if len(self._partial) > _MAX_LINE:
                    raise MalformedBody("too long a line")
                if b"\r" in self._partial[:-1]:
                    raise MalformedBody("a bare CR")
                if self._state == _DATA_END and self._partial != b"\r":
                    raise MalformedBody("a chunk is longer than its size says")
                return pieces, -1
            line = self._partial + data[position : end + 1]
            self._partial = b""
            position = end + 1
            if line[-2:] != b"\r\n" or len(line) > _MAX_LINE:
                raise MalformedBody("a line that does not end in CRLF, or too long a line")
            if self._line(line[:-2]):
                return pieces, position
        return pieces, -1

    def _line(self, line: bytes) -> bool:
        if self._state == _DATA_END:
            if line:
                raise MalformedBody("a chunk is longer than its size says")
            self._state = _SIZE_LINE
        elif self._state == _SIZE_LINE:
            self._size(line)
        elif self._state == _TRAILERS:
            if not line:
                self._state = _DONE
                self.trailers = b"".join(self._trailer_lines)
                return True
            self._trailer(line)
        else:
            raise MalformedBody("fed after its end")
        return False

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise MalformedBody("not a chunk size")
        self._extensions += len(match[2] or b"")
        if self._extensions > _MAX_EXTENSIONS:
            raise MalformedBody("too many chunk extensions")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS

    def _trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > _MAX_TRAILERS or len(self._trailer_lines) >= _MAX_TRAILER_LINES:
            raise MalformedBody("too many trailers")
        name, colon, _ = line.partition(b":")
        action = _ACTIONS[name]
        if not colon or action == MALFORMED or line.translate(None, _IN_LINES):
            raise MalformedBody("a trailer that is no header field")
        kept = action != DROP and not name.lower().startswith(_FORBIDDEN_PREFIXES)
        self._trailer_lines.append(b"\r\n" + line if kept else b"")
