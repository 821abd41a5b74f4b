"""How many of something several processes have together, in memory that they share: no lock, a fixed size.

Each process writes its own column and reads those of the others, so what a killed one had is given back by clearing
its column. A key counts in four cells that others may share; the smallest is the one with the fewest others in it (a
count-min sketch): never too low, and too high only where four strangers meet.
"""

from hashlib import blake2b
from typing import Final

_ROWS: Final = 4
_CELLS: Final = 1 << 16
_BYTES: Final = 4
#: The count that is not a key's, in front of each column.
_TOTAL: Final = 0
_COLUMN: Final = 1 + _ROWS * _CELLS


def size_for(processes: int) -> int:
    """Return how many bytes so many processes need."""
    return processes * _COLUMN * _BYTES


class SharedCounts:
    """Counts of the process `number` of those that share `memory`, which begins with zeros.

    `secret` is the same for all of them: nobody else can choose keys that share cells.
    """

    def __init__(self, memory: memoryview, number: int, *, secret: bytes) -> None:
        cells = memory.cast("I")
        self._own = cells[number * _COLUMN : (number + 1) * _COLUMN]
        self._columns = [cells[at : at + _COLUMN] for at in range(0, len(cells), _COLUMN)]
        self._secret = secret

    @property
    def total(self) -> int:
        """Return how many all processes have, whoever's they are."""
        return sum([column[_TOTAL] for column in self._columns])

    def add_to_total(self, change: int) -> None:
        """Count one more, or one less, that is nobody's yet."""
        self._own[_TOTAL] += change

    def cells(self, key: str) -> tuple[int, ...]:
        """Return where a key counts."""
        digest = blake2b(key.encode(), key=self._secret, digest_size=2 * _ROWS).digest()
        return tuple(1 + row * _CELLS + int.from_bytes(digest[2 * row : 2 * row + 2]) for row in range(_ROWS))

    def add(self, cells: tuple[int, ...], change: int) -> None:
        """Count one more, or one less, of a key."""
        own = self._own
        for cell in cells:
            own[cell] += change

    def count(self, cells: tuple[int, ...]) -> int:
        """Return how many of a key all processes have."""
        return min([sum([column[cell] for column in self._columns]) for cell in cells])

    def clear(self) -> None:
        """Give back what this process had: it is dead."""
        self._own[:] = memoryview(bytes(_COLUMN * _BYTES)).cast("I")


def alone(*, secret: bytes = b"alone") -> SharedCounts:
    """Return the counts of a process that shares them with nobody."""
    return SharedCounts(memoryview(bytearray(size_for(1))), 0, secret=secret)
