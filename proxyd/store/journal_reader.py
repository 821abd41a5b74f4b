"""The journal as another process reads it: nothing is created, repaired or locked."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent, JsonValue
from proxyd.store.journal_row import DOCUMENTS, EVENT_COLUMNS, Row, documents_of, events_of, text_or_bytes

_BUSY_SECONDS = 2.0


class JournalReader:
    """Reads once opened; `damage` says why nothing could be read, None when there is nothing to say.

    `is_damaged`: something is there that cannot be read, all of it or some rows.
    """

    def __init__(self, path: Path) -> None:
        self.damage: str | None = None
        self.is_damaged = False
        self._path = path

    def states(self) -> dict[str, Mapping[str, JsonValue]]:
        """Return all documents by name; broken ones are left out. Blocks on the disk; never raises for its state."""
        found, lost = documents_of(self._read(DOCUMENTS, ()))
        self.is_damaged = self.is_damaged or bool(lost)
        return found

    def history(self, host: Hostname, *, limit: int = 200) -> list[JournalEvent]:
        """Return the last events of a host, oldest first. Blocks on the disk; never raises for its state."""
        query = f"SELECT {EVENT_COLUMNS} FROM event WHERE host IS ? ORDER BY id DESC LIMIT ?"
        return events_of(reversed(self._read(query, (host.text, limit))))

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[Row]:
        if not self._path.exists():
            self.damage = f"{self._path} does not exist yet: no history"
            return []
        address = f"file:{quote(str(self._path))}?mode=ro"
        # Where the directory cannot be written, SQLite needs to hear that nobody writes.
        for flags in ("", "&immutable=1"):
            try:
                with closing(sqlite3.connect(address + flags, uri=True, timeout=_BUSY_SECONDS)) as connection:
                    connection.text_factory = text_or_bytes
                    return connection.execute(query, parameters).fetchall()
            except (sqlite3.Error, ValueError) as error:
                self.is_damaged = True
                self.damage = f"{self._path} cannot be read ({error}): no history"
        return []
