"""Requests that say the same as one before, but for the path: most of a page's, and of an API client's.

Their field blocks are the same bytes around the path, which browsers do not put into HPACK's table. So what was read
of the one is true of the other, until that table changes.
"""

import re
from collections.abc import Sequence
from typing import Final

from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import MalformedRequest, check_line
from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.field import Field, size_of
from proxyd.frontend.h2.hpack_decoder import HpackDecoder, text_at
from proxyd.frontend.h2.huffman import MalformedString
from proxyd.frontend.h2.request_reader import RequestReader

#: A literal :path that does not enter the table, behind fields that are in one (RFC 7541 §6.1, §6.2.2, §6.2.3).
_TO_PATH = re.compile(rb"[\x81-\xfe]{0,4}[\x04\x14]")
_TO_PATHS = (b"\x04", b"\x14")
_INDEXED: Final = bytes(range(0x80, 0x100))
_MOST_LEARNT, _LONGEST_LEARNT = 8, 2048


class RequestMemo:
    """Of one connection. It holds what is in the connection's table too, and the last path; a look after that table
    changed empties it.
    """

    __slots__ = ("_changes", "_decoder", "_known", "_last", "_last_head", "_reader")

    def __init__(self, decoder: HpackDecoder, reader: RequestReader) -> None:
        self._decoder = decoder
        self._reader = reader
        self._changes = 0
        #: With how long a path may be there.
        self._known: dict[bytes, tuple[RequestHead, int]] = {}
        self._last = b""  # the block around a path that came last
        self._last_head: RequestHead | None = None

    def find(self, block: bytes) -> RequestHead | None:
        """Return the head of a request without a body; None: it has to be read."""
        known = self._known
        if not known:
            return None
        if self._changes != self._decoder.changes:
            self._clear()
            return None
        if block == self._last:
            return self._last_head
        if (same := known.get(block)) is not None:
            return same[0]
        around, path = _split(block)
        if (like := known.get(around)) is None:
            return None
        head, room = like
        try:
            check_line(head.method, path, max_target=self._reader.max_target)
        except MalformedRequest:
            return None
        if path[0] != 0x2F or len(path) > room:
            return None
        head = RequestHead(head.method, path, path, head.authority, head.version, head.block, head.kept)
        self._last, self._last_head = block, head
        return head

    def read(self, block: bytes, fields: Sequence[Field], *, ends: bool) -> RequestHead:
        """Return the head of one that was not found; `fields`: of its block. Raises StreamFault, MalformedRequest."""
        head = self._reader.read(fields, ends=ends)
        if ends:
            self._learn(block, fields, head)
        return head

    def _learn(self, block: bytes, fields: Sequence[Field], head: RequestHead) -> None:
        """Know it again, if all of it but the path is in tables."""
        changes = self._decoder.changes
        if changes != self._changes:
            self._changes = changes
            self._clear()
            return
        around, path = block, b""
        if block.translate(None, _INDEXED):
            around, path = _split(block)
            if around.translate(None, _INDEXED) not in _TO_PATHS:
                return
        if len(head.kept) <= _LONGEST_LEARNT:
            if len(self._known) >= _MOST_LEARNT:
                self._known.clear()
            self._known[around] = head, self._decoder.max_size - sum(map(size_of, fields)) + len(path)

    def _clear(self) -> None:
        self._known.clear()
        self._last, self._last_head = b"", None


def _split(block: bytes) -> tuple[bytes, bytes]:
    """Return what is around a literal path, and the path; nothing when there is none."""
    found = _TO_PATH.match(block)
    if found is None:
        return b"", b""
    at = found.end()
    try:
        path, end = text_at(block, at)
    except (ConnectionFault, IndexError, MalformedString):
        return b"", b""
    return block[:at] + block[end:], path
