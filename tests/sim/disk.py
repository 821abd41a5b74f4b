"""The journal on a real disk: what one life of the daemon leaves to the next, unless it is lost."""

from pathlib import Path

from proxyd.core.clock import Clock
from proxyd.issuance.memory import Memory
from proxyd.store.journal import Journal


class Disk:
    """One directory; one life at a time."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "journal.sqlite"

    def open(self, clock: Clock, *, is_first: bool = False) -> Memory:
        """Return what is remembered."""
        memory = Memory(Journal(self._path, clock=clock), clock=clock)
        memory.open(is_first=is_first)
        return memory

    def lose(self) -> None:
        """Somebody cleans up."""
        for part in self._path.parent.iterdir():
            part.unlink()

    def spoil(self) -> None:
        """The disk gives back something else."""
        self._path.write_bytes(b"\xff\x00 no database" * 500)
