"""The journal as another process reads it: nothing is created, repaired or locked."""

import contextlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent, JsonValue
from proxyd.store.journal import decoded_document, event_of_row

_BUSY_SECONDS = 2.0


class JournalReader:
    """Reads once opened; `damage` says why nothing could be read, None when there is nothing to say.

    `is_damaged`: something is there that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.damage: str | None = None
        self.is_damaged = False
        self._path = path

    def states(self) -> dict[str, Mapping[str, JsonValue]]:
        """Return all documents by name; broken ones are left out. Blocks on the disk; never raises for its state."""
        rows = self._read("SELECT name, document FROM state", ())
        found = ((str(name), decoded_document(text)) for name, text in rows)
        return {name: document for name, document in found if document}

    def history(self, host: Hostname, *, limit: int = 200) -> list[JournalEvent]:
        """Return the last events of a host, oldest first. Blocks on the disk; never raises for its state."""
        query = "SELECT at, host, kind, issuer, fields FROM event WHERE host IS ? ORDER BY id DESC LIMIT ?"
        events = []
        for row in reversed(self._read(query, (host.text, limit))):
            with contextlib.suppress(ValueError, TypeError):  # a damaged row
                events.append(event_of_row(row))
        return events

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            self.damage = f"{self._path} does not exist yet: no history"
            return []
        address = f"file:{quote(str(self._path))}?mode=ro"
        # Where the directory cannot be written, SQLite needs to hear that nobody writes.
        for flags in ("", "&immutable=1"):
            try:
                with closing(sqlite3.connect(address + flags, uri=True, timeout=_BUSY_SECONDS)) as connection:
                    return connection.execute(query, parameters).fetchall()
            except (sqlite3.Error, ValueError) as error:
                self.is_damaged = True
                self.damage = f"{self._path} cannot be read ({error}): no history"
        return []
