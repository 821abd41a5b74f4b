"""What happened, and what must outlive a restart, in SQLite: losing it loses history, never a certificate."""

import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent, JsonValue

_log = logging.getLogger("proxyd.journal")
_QUEUE = 10_000
_BATCH_SECONDS = 0.2
_BATCH = 500
_KEEP = timedelta(days=400)
_KEEP_EVENTS = 1_000  # of one host
_PRUNE_EVERY = 2_000  # events
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, host TEXT, kind TEXT NOT NULL, issuer TEXT, fields TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_host ON event (host, id);
CREATE INDEX IF NOT EXISTS event_kind ON event (kind, at);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, document TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class _State:
    name: str
    document: Mapping[str, JsonValue] | None


class Journal:
    """One writer thread with a bounded queue. `record` and `put_state` never block and never raise."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self.history_known = False
        self._path = path
        self._clock = clock
        self._queue: queue.Queue[JournalEvent | _State | threading.Event | None] = queue.Queue(_QUEUE)
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._written = 0

    def open(self) -> None:
        """Open or make the database; a broken one is set aside. Blocks; never raises for what is on the disk."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            existed = self._path.exists()
            self._check()
            self.history_known = existed
        except (sqlite3.Error, OSError) as error:
            self._set_aside(error)
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is queued and stop. Blocks."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=10)
            self._thread = None

    def record(self, event: JournalEvent) -> None:
        """Queue an event; when the disk is too slow it is dropped, and counted."""
        self._put(event)

    def put_state(self, name: str, document: Mapping[str, JsonValue]) -> None:
        """Queue a document that replaces the one of the same name."""
        self._put(_State(name, document))

    def drop_state(self, name: str) -> None:
        """Queue the removal of a document."""
        self._put(_State(name, None))

    def flush(self) -> None:
        """Wait until everything queued so far is written, at most 10 s."""
        if self._thread is not None:
            written = threading.Event()
            self._queue.put(written)
            written.wait(10)

    def history(self, host: Hostname | None, *, limit: int = 200) -> list[JournalEvent]:
        """Return the last events of a host, oldest first. Blocks; empty when the database cannot be read."""
        rows = self._read(
            "SELECT at, host, kind, issuer, fields FROM event WHERE host IS ? ORDER BY id DESC LIMIT ?",
            (host.text if host else None, limit),
        )
        return [event_of_row(row) for row in reversed(rows)]

    def events(self, kinds: Collection[str], since: datetime) -> list[JournalEvent]:
        """Return the events of these kinds since a moment, oldest first. Blocks."""
        marks = ",".join("?" * len(kinds))
        query = f"SELECT at, host, kind, issuer, fields FROM event WHERE kind IN ({marks}) AND at >= ? ORDER BY id"
        return [event_of_row(row) for row in self._read(query, (*kinds, _text(since)))]

    def states(self) -> dict[str, Mapping[str, JsonValue]]:
        """Return all documents by name. Blocks; broken ones are left out."""
        found: dict[str, Mapping[str, JsonValue]] = {}
        for name, text in self._read("SELECT name, document FROM state", ()):
            document = decoded_document(text)
            if document:
                found[str(name)] = document
        return found

    def _put(self, item: JournalEvent | _State) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            if self._dropped == 0:
                _log.error("the journal cannot keep up with the disk: history is lost", extra={"file": self._path})
            self._dropped += 1

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _check(self) -> None:
        with closing(self._connect()) as connection:
            self._path.chmod(0o600)
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                raise sqlite3.DatabaseError(f"it is damaged: {str(found)[:100]}")
            connection.executescript(_SCHEMA)

    def _set_aside(self, error: Exception) -> None:
        moment = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
        _log.error(
            "the journal is broken and is set aside: history begins anew, certificates are not touched",
            extra={"file": self._path, "reason": str(error)},
        )
        try:
            for suffix in ("", "-wal", "-shm"):
                part = self._path.with_name(self._path.name + suffix)
                if part.exists() or part.is_symlink():
                    part.rename(part.with_name(f"{part.name}.broken-{moment}"))
            self._check()
        except (sqlite3.Error, OSError) as again:
            _log.error("no journal is kept for now", extra={"file": self._path, "reason": str(again)})

    def _write_all(self) -> None:
        waiting: list[JournalEvent | _State] = []
        stop = False
        while not stop:
            batch, flushed, stop = self._take()
            waiting = [*waiting, *batch][-_QUEUE:]
            try:
                self._write(waiting)
                waiting = []
            except (sqlite3.Error, OSError) as error:
                _log.error("the journal was not written: tried again", extra={"file": self._path, "reason": str(error)})
                if not stop and not flushed:
                    threading.Event().wait(1)
            for one in flushed:
                one.set()

    def _take(self) -> tuple[list[JournalEvent | _State], list[threading.Event], bool]:
        batch: list[JournalEvent | _State] = []
        flushed: list[threading.Event] = []
        item = self._queue.get()
        while True:
            if item is None:
                return batch, flushed, True
            if isinstance(item, threading.Event):
                flushed.append(item)
            else:
                batch.append(item)
            if flushed or len(batch) >= _BATCH:
                return batch, flushed, False
            try:
                item = self._queue.get(timeout=_BATCH_SECONDS)
            except queue.Empty:
                return batch, flushed, False

    def _write(self, items: list[JournalEvent | _State]) -> None:
        if not items:
            return
        with closing(self._connect()) as connection:
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN IMMEDIATE")
            for item in items:
                _insert(connection, item)
            self._written += len(items)
            if self._written >= _PRUNE_EVERY:
                self._written = 0
                _prune(connection, self._clock.now())
            connection.execute("COMMIT")

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connect()) as connection:
                return connection.execute(query, parameters).fetchall()
        except (sqlite3.Error, OSError) as error:
            _log.error("the journal cannot be read", extra={"file": self._path, "reason": str(error)})
            return []


def _insert(connection: sqlite3.Connection, item: JournalEvent | _State) -> None:
    match item:
        case JournalEvent():
            host = item.host.text if item.host else None
            row = (_text(item.at), host, item.kind, item.issuer, json.dumps(dict(item.fields)))
            connection.execute("INSERT INTO event (at, host, kind, issuer, fields) VALUES (?, ?, ?, ?, ?)", row)
        case _State(name=name, document=None):
            connection.execute("DELETE FROM state WHERE name = ?", (name,))
        case _State(name=name, document=document):
            connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, json.dumps(document)))


def _prune(connection: sqlite3.Connection, now: datetime) -> None:
    connection.execute("DELETE FROM event WHERE at < ?", (_text(now - _KEEP),))
    crowded = "SELECT host FROM event GROUP BY host HAVING count(*) > ?"
    for (host,) in connection.execute(crowded, (_KEEP_EVENTS,)).fetchall():
        kept = "SELECT id FROM event WHERE host IS ? ORDER BY id DESC LIMIT 1 OFFSET ?"
        connection.execute(
            f"DELETE FROM event WHERE host IS ? AND id <= ({kept})",
            (host, host, _KEEP_EVENTS),
        )


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def event_of_row(row: tuple[Any, ...]) -> JournalEvent:
    """Return the event in a row of `at, host, kind, issuer, fields`."""
    at, host, kind, issuer, fields = row
    name = Hostname(host) if host else None
    return JournalEvent(
        at=datetime.fromisoformat(at), host=name, kind=kind, issuer=issuer, fields=decoded_document(fields) or {}
    )


def decoded_document(text: object) -> Mapping[str, JsonValue] | None:
    """Return the JSON object in a column, or None."""
    try:
        document = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
