"""Takes request heads off the bytes of an HTTP/1.1 connection."""

from dataclasses import dataclass
from typing import Final

from proxyd.core.block_pattern import BlockPattern, pattern_of
from proxyd.core.body_length import NO_BODY
from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import (
    Claims,
    MalformedRequest,
    RequestBlock,
    as_of_http_1_0,
    scan_block,
    scan_line,
    target_path,
)

#: The header block of the last request is remembered: a client that asks again writes the same, or nearly so.
_MOST_REMEMBERED = 2048
#: So often a connection looks for what its blocks have in common; some have nothing.
_MOST_PATTERNS = 8
_END = b"\r\n\r\n"
#: Stands for a request that could not be read.
UNREADABLE: Final = RequestHead(
    b"", b"", b"", b"", 11, RequestBlock(b"", NO_BODY, False, False, False, False, b"", False, Claims(), b""), b""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLimits:
    """What a request head may have: bytes in all, header lines, bytes of its target."""

    size: int = 16_384
    fields: int = 100
    target: int = 8192


class HeadReader:
    """Of one connection."""

    __slots__ = ("_block", "_kept", "_limits", "_lines", "_pattern", "_patterns")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._lines = b""
        self._block: RequestBlock | None = None
        self._kept = b""
        self._pattern: BlockPattern | None = None
        self._patterns = 0

    def read(self, data: bytes) -> tuple[RequestHead, int] | None:
        """Return the head that `data` begins with and where it ends, or None: it is not complete.

        Raises MalformedRequest as soon as it cannot become a good one.
        """
        limits = self._limits
        cut, end, found = data.find(b"\r\n"), len(data) - 4, None
        if end <= limits.size and data.endswith(_END):  # mostly nothing follows, and to search for the end takes long
            found = self._known(data[cut:end])  # with another end inside it would not be known
        if found is None:
            end = data.find(_END)
            if end < 0 or end > limits.size:
                self._look(data)
                return None
        method, target, version = line = scan_line(data[:cut], max_target=limits.target)
        if found is None:
            lines = data[cut:end]
            found = self._known(lines) or self._scan(lines)
        block, kept = found
        path, authority = target_path(line, block)
        if version == 10:
            block = as_of_http_1_0(block)
        return RequestHead(method, target, path, authority, version, block, kept), end + 4

    def _known(self, lines: bytes) -> tuple[RequestBlock, bytes] | None:
        block = self._block
        if block is not None and lines == self._lines:
            return block, self._kept
        pattern = self._pattern
        if pattern is None or (kept := pattern.read(lines)) is None:
            return None
        if len(lines) <= _MOST_REMEMBERED:
            self._lines, self._block, self._kept = lines, pattern.block, kept
        return pattern.block, kept

    def _scan(self, lines: bytes) -> tuple[RequestBlock, bytes]:
        block, kept = scan_block(lines, max_count=self._limits.fields)
        if len(lines) <= _MOST_REMEMBERED:
            if self._lines and self._patterns < _MOST_PATTERNS:
                self._patterns += 1
                free = self._pattern.free if self._pattern is not None else ()
                self._pattern = pattern_of(self._lines, lines, block, kept, free) or self._pattern
            self._lines, self._block, self._kept = lines, block, kept
        return block, kept

    def _look(self, data: bytes) -> None:
        """Look at what is there of a head."""
        cut = data.find(b"\r\n")
        if cut >= 0:
            scan_line(data[:cut], max_target=self._limits.target)
        elif len(data) > self._limits.target + 64:
            raise MalformedRequest("the request target is too long", 414, "max_uri")
        if len(data) > self._limits.size:
            raise MalformedRequest("the request head is too long", 431, "max_header")
        if data.count(b"\n") != data.count(b"\r\n"):
            raise MalformedRequest("a bare line end in the header")
