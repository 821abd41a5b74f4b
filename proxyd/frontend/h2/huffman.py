"""Strings in the Huffman code of HPACK (RFC 7541 §5.2), byte by byte.

Nothing that was read is remembered: strings may be secrets.
"""

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


class _Automaton(dict[int, tuple[int, bytes]]):
    """From a node (above the lowest eight bits) and a byte to the next node and the symbols in between.

    Made when asked for: all 65,536 are seldom needed, and take long.
    """

    def __init__(self) -> None:
        super().__init__()
        self._nodes = _tree()
        at = 0
        ends = set()
        for _ in range(8):  # RFC 7541 §5.2: padding is the beginning of the code of the end, shorter than a byte
            ends.add(at << 8)
            at = self._nodes[at][1]
        self.ends = frozenset(ends)

    def __missing__(self, key: int) -> tuple[int, bytes]:
        at, byte = key >> 8, key & 0xFF
        symbols = []
        for shift in range(7, -1, -1):
            at = self._nodes[at][byte >> shift & 1]
            if at < 0:
                symbol = -1 - at
                if symbol == _END:  # RFC 7541 §5.2: an error
                    raise MalformedString("the end of a string inside it")
                symbols.append(symbol)
                at = 0
        found = self[key] = at << 8, bytes(symbols)
        return found


_AUTOMATON = _Automaton()


def decoded(data: bytes) -> bytes:
    """Return what `data` is the code of. Raises MalformedString."""
    automaton = _AUTOMATON
    state = 0
    parts = []
    for byte in data:
        state, symbols = automaton[state | byte]
        parts.append(symbols)
    if state not in automaton.ends:
        raise MalformedString("padding that is none")
    return b"".join(parts)
