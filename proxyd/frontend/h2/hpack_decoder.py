"""HPACK, the reading half (RFC 7541): from a field block to fields. One for each connection."""

from collections.abc import Sequence

from proxyd.core.counters import Limit
from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.field import AUTHORITY, COOKIE, PSEUDO, STATIC_FIELDS, Field, field_of, size_of
from proxyd.frontend.h2.frames import COMPRESSION_ERROR, DEFAULT_TABLE, ENHANCE_YOUR_CALM
from proxyd.frontend.h2.huffman import MalformedString, decoded
from proxyd.frontend.h2.usual_values import USUAL_VALUES

#: Where what is new is put (RFC 7541 §2.3.3).
_FIRST_DYNAMIC = len(STATIC_FIELDS)
#: A list this many times over what was announced is no mistake of anybody.
_BOMB = 4
#: Bits of an integer beyond its prefix.
_MOST_SHIFT = 21


class HpackDecoder:
    """`max_size`: bytes of a list of fields as RFC 9113 §6.5.2 counts them; `max_count`: lines of HTTP/1.1.

    `changes`: of the table. While there are none, the same index means the same.
    """

    __slots__ = ("_room", "_size", "_table", "changes", "max_count", "max_size")

    def __init__(self, *, max_size: int, max_count: int) -> None:
        self.max_size, self.max_count = max_size, max_count
        self._table = [*STATIC_FIELDS]  # then the dynamic one, the newest first (RFC 7541 §2.3.2)
        self._size = 0
        self._room = DEFAULT_TABLE  # another size is not agreed on
        self.changes = 0

    @property
    def size(self) -> int:
        """How much of the dynamic table is in use (RFC 7541 §4.1)."""
        return self._size

    def decode(self, block: bytes) -> tuple[list[Field], Limit | None]:
        """Return the fields, and the limit that they are over. Raises ConnectionFault."""
        try:
            fields = self._decode(block)
        except IndexError:
            raise ConnectionFault(COMPRESSION_ERROR, "an index that leads nowhere, or an end too early") from None
        except MalformedString as error:
            raise ConnectionFault(COMPRESSION_ERROR, str(error)) from None
        size = sum(map(size_of, fields))
        if size > self.max_size:
            if size > _BOMB * self.max_size:
                raise ConnectionFault(ENHANCE_YOUR_CALM, "a bomb of header fields", "http2_header_list")
            return fields, "max_header"
        if len(fields) > self.max_count < _lines(fields):
            return fields, "max_header_count"
        return fields, None

    def _decode(self, block: bytes) -> list[Field]:
        at, end = 0, len(block)
        table = self._table
        found: list[Field] = []
        while at < end:
            first = block[at]
            at += 1
            if first > 0x80:  # RFC 7541 §6.1: indexed
                if first < 0xFF:
                    found.append(table[first - 0x80])
                else:
                    index, at = _integer(block, at, 0x7F)
                    found.append(table[index])
            elif first & 0xE0 == 0x20:  # RFC 7541 §6.3
                at = self._resize(block, at, first, is_first=not found)
            elif first == 0x80:
                raise ConnectionFault(COMPRESSION_ERROR, "an index that leads nowhere")
            else:
                field, at = self._literal(block, at, first)
                found.append(field)
                if first & 0x40:
                    self._add(field)
        return found

    def _literal(self, block: bytes, at: int, first: int) -> tuple[Field, int]:
        """Return the field that `first` begins, and where it ends (RFC 7541 §6.2)."""
        mask = 0x3F if first & 0x40 else 0x0F
        index = first & mask
        if index:
            if index == mask:
                index, at = _integer(block, at, mask)
            name = self._table[index].name
        else:
            name, at = text_at(block, at)
        is_coded, value, at = _string(block, at)
        if not is_coded:
            return field_of(name, value), at
        if name in USUAL_VALUES:
            return USUAL_VALUES[name][value], at
        return field_of(name, decoded(value)), at

    def _add(self, field: Field) -> None:
        """Put it into the dynamic table; one that is larger than that empties it (RFC 7541 §4.4)."""
        self.changes += 1
        self._evict(self._room - field.size)
        if field.size <= self._room:
            self._table.insert(_FIRST_DYNAMIC, field)
            self._size += field.size

    def _evict(self, room: int) -> None:
        """Leave in the dynamic table what fits (RFC 7541 §4.3, §4.4)."""
        size = self._size
        while size > room and size:
            size -= self._table.pop().size
        self._size = size

    def _resize(self, block: bytes, at: int, first: int, *, is_first: bool) -> int:
        room = first & 0x1F
        if room == 0x1F:
            room, at = _integer(block, at, 0x1F)
        if not is_first or room > DEFAULT_TABLE:  # RFC 7541 §4.2, §6.3
            raise ConnectionFault(COMPRESSION_ERROR, "a change of the table's size where none may be")
        self._room = room
        self.changes += 1
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


def text_at(block: bytes, at: int) -> tuple[bytes, int]:
    """Return a string and where it ends (RFC 7541 §5.2). Raises ConnectionFault, IndexError, MalformedString."""
    is_coded, text, end = _string(block, at)
    return decoded(text) if is_coded else text, end


def _string(block: bytes, at: int) -> tuple[int, bytes, int]:
    """Return whether a string is in Huffman's code, its bytes, and where it ends (RFC 7541 §5.2)."""
    first = block[at]
    length = first & 0x7F
    at += 1
    if length == 0x7F:
        length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise ConnectionFault(COMPRESSION_ERROR, "a string that is longer than its block")
    return first & 0x80, block[at:end], end
