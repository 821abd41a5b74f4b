"""Strings in the Huffman code of HPACK (RFC 7541 §5.2), byte by byte.

Nothing that was read is remembered: strings may be secrets.
"""

from typing import Any, Final

from proxyd.frontend.h2.huffman_codes import CODES

_END = 256


class MalformedString(ValueError):
    """It is no Huffman code of anything."""


def _tree() -> list[list[int]]:
    """Return the nodes: where a 0 and a 1 lead, to another node or, below zero, to the symbol -1 - n."""
    nodes = [[0, 0]]
    for symbol, (code, bits) in enumerate(CODES):
        at = 0
        for shift in range(bits - 1, 0, -1):
            bit = code >> shift & 1
            if not nodes[at][bit]:
                nodes.append([0, 0])
                nodes[at][bit] = len(nodes) - 1
            at = nodes[at][bit]
        nodes[at][code & 1] = -1 - symbol
    return nodes


class _Automaton:
    """A row for each node of the tree: by the next byte, the row that follows and the symbols in between.

    Rows are filled when they are asked for: all 65,536 entries are seldom needed, and take long. Where the end of a
    string comes inside it, there is no entry but an error (RFC 7541 §5.2).
    """

    def __init__(self) -> None:
        self._nodes = _tree()
        #: (row, symbols), which a type cannot say of itself.
        self.rows: Final[list[list[Any]]] = [[] for _ in self._nodes]
        self.start = self.rows[0]
        self._numbers = {id(row): number for number, row in enumerate(self.rows)}
        at = 0
        ends = set()
        for _ in range(8):  # RFC 7541 §5.2: padding is the beginning of the code of the end, shorter than a byte
            ends.add(id(self.rows[at]))
            at = self._nodes[at][1]
        self.ends = frozenset(ends)

    def fill(self, row: list[Any]) -> None:
        """Make a row complete."""
        number = self._numbers[id(row)]
        row[:] = [self._entry(number, byte) for byte in range(256)]

    def _entry(self, at: int, byte: int) -> tuple[list[Any], bytes] | None:
        symbols = []
        for shift in range(7, -1, -1):
            at = self._nodes[at][byte >> shift & 1]
            if at < 0:
                symbol = -1 - at
                if symbol == _END:
                    return None
                symbols.append(symbol)
                at = 0
        return self.rows[at], bytes(symbols)


_AUTOMATON = _Automaton()


def decoded(data: bytes) -> bytes:
    """Return what `data` is the code of. Raises MalformedString."""
    while True:
        row = _AUTOMATON.start
        parts = []
        try:
            for byte in data:
                row, symbols = row[byte]
                parts.append(symbols)
        except IndexError:  # the first one that comes here
            _AUTOMATON.fill(row)
            continue
        except TypeError:
            raise MalformedString("the end of a string inside it") from None
        if id(row) not in _AUTOMATON.ends:
            raise MalformedString("padding that is none")
        return b"".join(parts)
