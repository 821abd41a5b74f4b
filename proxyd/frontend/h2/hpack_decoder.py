"""HPACK, the reading half (RFC 7541): from a field block to fields. One for each connection."""

from collections.abc import Sequence

from proxyd.core.counters import Limit
from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.field import AUTHORITY, COOKIE, PSEUDO, STATIC_FIELDS, Field, field_of
from proxyd.frontend.h2.frames import COMPRESSION_ERROR, DEFAULT_TABLE, ENHANCE_YOUR_CALM
from proxyd.frontend.h2.huffman import MalformedString, decoded

_STATIC = len(STATIC_FIELDS)
#: A list this many times over what was announced is no mistake of anybody.
_BOMB = 4
#: A block of these says nothing that is not in a table.
_INDEXED = bytes(range(0x80, 0x100))
#: Bits of an integer beyond its prefix.
_MOST_SHIFT = 21


class HpackDecoder:
    """`max_size`: bytes of a list of fields as RFC 9113 §6.5.2 counts them; `max_count`: lines of HTTP/1.1."""

    __slots__ = ("_fields", "_known", "_known_block", "_room", "_size", "max_count", "max_size")

    def __init__(self, *, max_size: int, max_count: int) -> None:
        self.max_size, self.max_count = max_size, max_count
        self._fields: list[Field] = []  # the dynamic table, the newest last (RFC 7541 §2.3.2)
        self._size = 0
        self._room = DEFAULT_TABLE  # another size is not agreed on
        self._known_block = b""  # the last one that was only indices, until the table changes
        self._known: tuple[Field, ...] = ()

    @property
    def size(self) -> int:
        """How much of the table is in use (RFC 7541 §4.1)."""
        return self._size

    def decode(self, block: bytes) -> tuple[Sequence[Field], Limit | None]:
        """Return the fields, and the limit that they are over: then some are left out. Raises ConnectionFault.

        A tuple may come again, the same object: nothing in it was literal.
        """
        if block and block == self._known_block:
            return self._known, None
        try:
            fields, limit = self._decode(block)
        except IndexError:
            raise ConnectionFault(COMPRESSION_ERROR, "a field block that ends too early") from None
        except MalformedString as error:
            raise ConnectionFault(COMPRESSION_ERROR, str(error)) from None
        if limit is None and not block.translate(None, _INDEXED):
            self._known_block, self._known = block, tuple(fields)
            return self._known, None
        return fields, limit

    def _decode(self, block: bytes) -> tuple[list[Field], Limit | None]:
        at, end, size = 0, len(block), 0
        dynamic = self._fields
        found: list[Field] = []
        while at < end:
            first = block[at]
            if first >= 0x80:  # RFC 7541 §6.1: indexed
                index = first & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                if 0 < index < _STATIC:
                    field = STATIC_FIELDS[index]
                elif _STATIC <= index < _STATIC + len(dynamic):
                    field = dynamic[_STATIC - 1 - index]
                else:
                    field = self._indexed(index)
            elif first & 0xE0 == 0x20:  # RFC 7541 §6.3
                at = self._resize(block, at, is_first=not found and not size)
                continue
            else:  # RFC 7541 §6.2
                is_kept = first & 0x40
                mask = 0x3F if is_kept else 0x0F
                index = first & mask
                at += 1
                if index == mask:
                    index, at = _integer(block, at, mask)
                if not index:
                    name, at = _string(block, at)
                elif index < _STATIC:
                    name = STATIC_FIELDS[index].name
                else:
                    name = self._indexed(index).name
                value, at = _string(block, at)
                field = field_of(name, value)
                if is_kept:
                    self._keep(field)
            size += field.size
            if size <= self.max_size:
                found.append(field)
            elif size > _BOMB * self.max_size:
                raise ConnectionFault(ENHANCE_YOUR_CALM, "a bomb of header fields", "http2_header_list")
        if size > self.max_size:
            return found, "max_header"
        return found, "max_header_count" if len(found) > self.max_count < _lines(found) else None

    def _indexed(self, index: int) -> Field:
        place = index - _STATIC + 1
        if not 0 < place <= len(self._fields):  # RFC 7541 §2.3.3, §6.1
            raise ConnectionFault(COMPRESSION_ERROR, "an index that leads nowhere")
        return self._fields[-place]

    def _keep(self, field: Field) -> None:
        """Put it into the table; what does not fit empties it (RFC 7541 §4.4)."""
        self._known_block = b""
        self._evict(self._room - field.size)
        if field.size <= self._room:
            self._fields.append(field)
            self._size += field.size

    def _evict(self, room: int) -> None:
        gone = 0
        while self._size > room and gone < len(self._fields):
            self._size -= self._fields[gone].size
            gone += 1
        if gone:
            del self._fields[:gone]

    def _resize(self, block: bytes, at: int, *, is_first: bool) -> int:
        room = block[at] & 0x1F
        at += 1
        if room == 0x1F:
            room, at = _integer(block, at, 0x1F)
        if not is_first or room > DEFAULT_TABLE:  # RFC 7541 §4.2, §6.3
            raise ConnectionFault(COMPRESSION_ERROR, "a change of the table's size where none may be")
        self._room, self._known_block = room, b""
        self._evict(room)
        return at


def _lines(fields: Sequence[Field]) -> int:
    """Return how many header lines of HTTP/1.1 that are: Host is one, and all cookies (RFC 9113 §8.2.3, §8.3.1)."""
    cookies = sum(one.action == COOKIE for one in fields)
    others = sum(one.action in PSEUDO and one.action != AUTHORITY for one in fields)
    return len(fields) - others - max(0, cookies - 1)


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """Return the integer whose prefix was full, and where it ends (RFC 7541 §5.1)."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > _MOST_SHIFT:
            raise ConnectionFault(COMPRESSION_ERROR, "an integer that is too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """Return a string and where it ends (RFC 7541 §5.2)."""
    first = block[at]
    length = first & 0x7F
    at += 1
    if length == 0x7F:
        length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise ConnectionFault(COMPRESSION_ERROR, "a string that is longer than its block")
    return decoded(block[at:end]) if first & 0x80 else block[at:end], end
