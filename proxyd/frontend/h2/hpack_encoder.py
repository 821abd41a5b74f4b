"""HPACK, the writing half (RFC 7541): heads and trailers of responses. It keeps no table at the client's side.

So one serves all connections: what was written once is known again, within a bound, unless it is a secret.
"""

from typing import Final

from proxyd.core.field_names import HOP_BY_HOP
from proxyd.frontend.h2.static_table import STATIC

#: Nobody between may index them (RFC 7541 §7.1.3), and nothing here remembers them.
SECRETS: Final = frozenset({b"authorization", b"cookie", b"set-cookie", b"proxy-authorization"})
_WHOLE = {field: index for index, field in reversed([*enumerate(STATIC, 1)]) if field[1]}
_NAMES = {field[0]: index for index, field in reversed([*enumerate(STATIC, 1)])}
_STATUS, _LENGTH = b":status", b"content-length"
_MOST_LINES, _LONGEST_LINE = 4096, 256
_MOST_BLOCKS, _LONGEST_BLOCK = 512, 2048
_NEVER_INDEXED = 0x10


class HpackEncoder:
    """Header lines are given as blocks: each line after a CRLF."""

    def __init__(self) -> None:
        self._lines: dict[bytes, bytes] = {}
        self._blocks: dict[tuple[int, bytes, int], bytes] = {}

    def head(self, status: int, lines: bytes, length: int = -1) -> bytes:
        """Return the block of a response's head; `length`: what Content-Length says, below 0 there is none."""
        key = status, lines, length
        known = self._blocks.get(key)
        if known is not None:
            return known
        fields, has_secrets = self._fields(lines)
        block = _field(_STATUS, b"%d" % status) + fields
        if length >= 0:
            block += _field(_LENGTH, b"%d" % length)
        if not has_secrets and len(lines) <= _LONGEST_BLOCK:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            self._blocks[key] = block
        return block

    def trailers(self, lines: bytes) -> bytes:
        """Return the block of trailers."""
        return self._fields(lines)[0]

    def _fields(self, lines: bytes) -> tuple[bytes, bool]:
        known = self._lines
        parts = []
        has_secrets = False
        for line in lines.split(b"\r\n")[1:]:
            part = known.get(line)
            if part is None:
                name, _, value = line.partition(b":")
                name = name.lower()  # RFC 9113 §8.2
                part = b"" if name in HOP_BY_HOP else _field(name, value.strip(b" \t"))  # RFC 9113 §8.2.2
                if name in SECRETS:
                    has_secrets = True
                elif len(line) <= _LONGEST_LINE:
                    if len(known) >= _MOST_LINES:
                        known.clear()
                    known[line] = part
            parts.append(part)
        return b"".join(parts), has_secrets


def _field(name: bytes, value: bytes) -> bytes:
    whole = _WHOLE.get((name, value))
    if whole is not None:
        return _integer(whole, 7, 0x80)  # RFC 7541 §6.1
    first = _NEVER_INDEXED if name in SECRETS else 0  # RFC 7541 §6.2.2, §6.2.3
    index = _NAMES.get(name)
    start = _integer(index, 4, first) if index else bytes((first,)) + _integer(len(name), 7, 0) + name
    return start + _integer(len(value), 7, 0) + value


def _integer(value: int, bits: int, first: int) -> bytes:
    """Write an integer behind the upper bits of `first` (RFC 7541 §5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    found = [first | most]
    value -= most
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
