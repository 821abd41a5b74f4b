"""Takes request heads off the bytes of an HTTP/1.1 connection."""

from dataclasses import dataclass
from typing import Final

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

#: The header block of the last request is remembered: a client that asks again writes the same.
_MOST_REMEMBERED = 2048
_END = b"\r\n\r\n"
#: Stands for a request that could not be read.
UNREADABLE: Final = RequestHead(
    b"", b"", b"", b"", 11, RequestBlock(b"", b"", NO_BODY, False, False, False, False, b"", False, Claims(), b"")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLimits:
    """What a request head may have: bytes in all, header lines, bytes of its target."""

    size: int = 16_384
    fields: int = 100
    target: int = 8192


class HeadReader:
    """Of one connection."""

    __slots__ = ("_block", "_limits", "_lines")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._lines = b""
        self._block: RequestBlock | None = None

    def read(self, data: bytes) -> tuple[RequestHead, int] | None:
        """Return the head that `data` begins with and where it ends, or None: it is not complete.

        Raises MalformedRequest as soon as it cannot become a good one.
        """
        limits = self._limits
        end = data.find(_END)
        if end < 0 or end > limits.size:
            self._look(data)
            return None
        cut = data.find(b"\r\n")
        method, target, version = line = scan_line(data[:cut], max_target=limits.target)
        lines = data[cut:end]
        block = self._block
        if block is None or lines != self._lines:
            block = scan_block(lines, max_count=limits.fields)
            if end <= _MOST_REMEMBERED:
                self._lines, self._block = lines, block
        path, authority = target_path(line, block)
        if version == 10:
            block = as_of_http_1_0(block)
        return RequestHead(method, target, path, authority, version, block), end + 4

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
