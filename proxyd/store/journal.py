"""What happened, and what must outlive a restart, in SQLite: losing it loses history, never a certificate."""

import json
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent, JsonValue
from proxyd.store.file_mode import make_readable
from proxyd.store.journal_row import DOCUMENTS, EVENT_COLUMNS, Row, documents_of, events_of, text_or_bytes

_log = logging.getLogger("proxyd.journal")
_QUEUE = 10_000
_BATCH_SECONDS = 0.2
_BATCH = 500
_KEEP = timedelta(days=400)
_KEEP_EVENTS = 1_000  # of one host
_KEEP_ALL = 1_000_000
_PRUNE_EVERY = 2_000  # events
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds between tries while the disk refuses
_PATIENCE, _PATIENCE_AT_START = 5.0, 0.3  # seconds for who has locked it; nobody listens before the start has read it
_QUICK_BYTES = 64 << 20  # what is larger would delay the start too long
_INSERT_EVENT = f"INSERT INTO event ({EVENT_COLUMNS}) VALUES (?, ?, ?, ?, ?)"
_REPLACE_STATE = "INSERT OR REPLACE INTO state (name, document) VALUES (?, ?)"
#: What statements that never change fail by only when the database is not ours any more.
_DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, host TEXT, kind TEXT NOT NULL, issuer TEXT, fields TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_host ON event (host, id);
CREATE INDEX IF NOT EXISTS event_kind ON event (kind, at);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, document TEXT NOT NULL);
"""


class _Damaged(OSError):
    """The database is of no use any more."""


class Journal:
    """One writer thread with bounded memory. `record` and `put_state` never wait for the disk and never raise.

    What the disk does not take is kept and tried again; the oldest events go first.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self.history_known = False
        self.is_blank = False  # when it was opened: nothing was kept, and nothing broken
        self._path = path
        self._clock = clock
        self._wake = threading.Condition()
        self._events: deque[JournalEvent] = deque(maxlen=_QUEUE)
        self._states: dict[str, Mapping[str, JsonValue] | None] = {}
        self._patience = _PATIENCE_AT_START
        self._is_old = False  # what was read last: the newest of it was locked away
        self._lost: list[int] = []  # rows that cannot be read
        self._forgotten: list[int] = []  # of those
        self._stop = False
        self._asked = self._answered = 0  # flushes
        self._dropped = 0
        self._pause = 0.0  # seconds until the next try; 0: the disk takes everything
        self.trouble: str | None = None  # why it is not written now
        self._thread: threading.Thread | None = None
        self._written = 0

    def open(self) -> dict[str, Mapping[str, JsonValue]]:
        """Open or make the database and return all documents by name; a broken one is set aside.

        Blocks; never raises for what is on the disk.
        """
        is_sound = True
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check()
        except (sqlite3.Error, OSError) as error:
            is_sound = False
            self._trouble(error)
        documents = self.states()
        ((last,),) = self._read("SELECT max(id) FROM event", ()) or [(0,)]
        self._written = (last or 0) % _PRUNE_EVERY  # by several processes: none may last long
        self._patience = _PATIENCE
        self.is_blank = is_sound and not documents and not self._lost
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()
        return documents

    def close(self) -> None:
        """Write what is queued and stop. Blocks."""
        if self._thread is not None:
            with self._wake:
                self._stop = True
                self._wake.notify_all()
            self._thread.join(timeout=10)
            self._thread = None

    def record(self, event: JournalEvent) -> None:
        """Queue an event."""
        with self._wake:
            self._dropped += len(self._events) == _QUEUE
            self._events.append(event)
            self._wake.notify_all()

    def put_state(self, name: str, document: Mapping[str, JsonValue]) -> None:
        """Queue a document that replaces the one of the same name."""
        self._queue(name, document)

    def drop_state(self, name: str) -> None:
        """Queue the removal of a document."""
        self._queue(name, None)

    def flush(self) -> None:
        """Wait until the disk was asked to take everything queued so far, at most 10 s."""
        if self._thread is not None:
            with self._wake:
                self._asked += 1
                mine = self._asked
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._answered >= mine, timeout=10)

    def history(self, host: Hostname | None, *, limit: int = 200) -> list[JournalEvent]:
        """Return the last events of a host, oldest first. Blocks; empty when the database cannot be read."""
        rows = self._read(
            f"SELECT {EVENT_COLUMNS} FROM event WHERE host IS ? ORDER BY id DESC LIMIT ?",
            (host.text if host else None, limit),
        )
        return events_of(reversed(rows))

    def latest(self, limit: int) -> list[JournalEvent]:
        """Return the last events of all hosts that the disk has, newest first. Blocks; empty as `history`."""
        return events_of(self._read(f"SELECT {EVENT_COLUMNS} FROM event ORDER BY id DESC LIMIT ?", (limit,)))

    def states(self) -> dict[str, Mapping[str, JsonValue]]:
        """Return all documents by name. Blocks; broken ones are left out, and the history is not known then."""
        found, self._lost = documents_of(self._read(DOCUMENTS, ()))
        self.history_known = bool(found) and not self._lost and not self._is_old
        if self._lost:
            _log.error(
                "some of the journal cannot be read: what it kept of waits and limits is lost in part",
                extra={"file": self._path, "rows": len(self._lost)},
            )
        return found

    def forget_lost(self) -> None:
        """Queue the removal of what could not be read: once what is kept instead of it is about to be queued."""
        with self._wake:
            self._forgotten, self._lost = self._lost or self._forgotten, []

    def _queue(self, name: str, document: Mapping[str, JsonValue] | None) -> None:
        with self._wake:
            self._states[name] = document
            self._wake.notify_all()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=self._patience, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _check(self) -> None:
        for part in self._parts():
            if part.is_symlink() or (part.exists() and not part.is_file()):
                raise _Damaged(f"{part.name} is not a regular file")
            if part.exists() and not os.access(part, os.R_OK | os.W_OK) and part.stat().st_uid == os.geteuid():
                make_readable(part)
        with closing(self._connect()) as connection:
            self._path.chmod(0o600)
            if self._path.stat().st_size < _QUICK_BYTES:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()
                if found != ("ok",):
                    raise _Damaged(f"it is damaged: {str(found)[:100]}")
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN IMMEDIATE")  # tables of other columns, a view: it takes nothing for ever
            connection.execute(_INSERT_EVENT, ("", None, "", None, ""))
            connection.execute(_REPLACE_STATE, ("", ""))
            connection.execute("ROLLBACK")

    def _parts(self) -> list[Path]:
        return [self._path.with_name(self._path.name + suffix) for suffix in ("", "-wal", "-shm")]

    def _trouble(self, error: Exception) -> None:
        """Set a broken database aside; wait for better times when it is not its fault. Says so once."""
        if _is_damage(error):
            _log.error(
                "the journal is broken and is set aside: history begins anew, certificates are not touched",
                extra={"file": self._path, "reason": str(error)},
            )
            try:
                self._set_aside()
                self._check()
                return
            except (sqlite3.Error, OSError) as again:
                error = again
        if self._pause == 0.0:
            _log.error(
                "the journal cannot be written: tried again, history may be lost",
                extra={"file": self._path, "reason": str(error)},
            )
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        is_locked = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        to_do = "end the program that has locked it" if is_locked else "free space or repair the disk"
        self.trouble = f"the journal {self._path} cannot be written: {error}; {to_do}"

    def _set_aside(self) -> None:
        moment = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
        for part in self._parts():
            if part.exists() or part.is_symlink():
                part.rename(part.with_name(f"{part.name}.broken-{moment}"))

    def _write_all(self) -> None:
        stop = False
        while not stop:
            self._wait()
            with self._wake:
                events, states, asked, stop = list(self._events), self._states, self._asked, self._stop
                self._events.clear()
                self._states = {}
            try:
                self._write(events, states)
                self._recovered()
            except (sqlite3.Error, OSError) as error:
                with self._wake:  # what is newer wins
                    self._dropped += max(0, len(events) + len(self._events) - _QUEUE)
                    self._events = deque([*events, *self._events], maxlen=_QUEUE)
                    self._states = {**states, **self._states}
                self._trouble(error)
            except ValueError:
                _log.exception("events that cannot be written are dropped", extra={"file": self._path})
            with self._wake:
                self._answered = asked
                self._wake.notify_all()

    def _wait(self) -> None:
        def urgent() -> bool:
            return self._stop or self._asked > self._answered or len(self._events) >= _BATCH

        with self._wake:
            if self._pause:
                self._wake.wait_for(lambda: self._stop or self._asked > self._answered, timeout=self._pause)
                return
            self._wake.wait_for(lambda: self._events or self._states or urgent())
            self._wake.wait_for(urgent, timeout=_BATCH_SECONDS)

    def _recovered(self) -> None:
        if self._pause:
            _log.warning("the journal is written again", extra={"file": self._path, "lost_events": self._dropped})
            self._pause, self._dropped, self.trouble = 0.0, 0, None

    def _write(self, events: Sequence[JournalEvent], states: Mapping[str, Mapping[str, JsonValue] | None]) -> None:
        forgotten = self._forgotten
        if not events and not states and not forgotten and not self._pause:
            return
        with closing(self._connect()) as connection:
            connection.executescript(_SCHEMA)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM state WHERE rowid = ?", ((number,) for number in forgotten))
            connection.executemany(_INSERT_EVENT, map(_row, events))
            for name, document in states.items():
                if document is None:
                    connection.execute("DELETE FROM state WHERE name = ?", (name,))
                else:
                    connection.execute(_REPLACE_STATE, (name, _json(document)))
            self._written += len(events)
            if self._written >= _PRUNE_EVERY:
                self._written = 0
                _prune(connection, self._clock.now())
            connection.execute("COMMIT")
        with self._wake:
            if self._forgotten is forgotten:
                self._forgotten = []

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[Row]:
        try:
            with closing(self._connect()) as connection:
                connection.text_factory = text_or_bytes
                rows = connection.execute(query, parameters).fetchall()
                self._is_old = False
                return rows
        except (sqlite3.Error, OSError) as error:
            if _is_damage(error):
                return []  # the writer says so
        try:  # a disk that cannot be written, or somebody has locked it: the last transactions may be in the WAL alone
            wal = self._parts()[1]
            self._is_old = wal.exists() and wal.stat().st_size > 0
            with closing(sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro&immutable=1", uri=True)) as connection:
                connection.text_factory = text_or_bytes
                return connection.execute(query, parameters).fetchall()
        except (sqlite3.Error, OSError) as error:
            if self._pause == 0.0:
                _log.error("the journal cannot be read", extra={"file": self._path, "reason": str(error)})
            return []


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, _Damaged) or (isinstance(code, int) and code & 0xFF in _DAMAGE)


def _row(event: JournalEvent) -> tuple[str, str | None, str, str | None, str]:
    host = event.host.text if event.host else None
    return _text(event.at), host, event.kind, event.issuer, _json(event.fields)


def _json(document: Mapping[str, JsonValue]) -> str:
    return json.dumps(dict(document), default=str)


def _prune(connection: sqlite3.Connection, now: datetime) -> None:
    connection.execute("DELETE FROM event WHERE at < ?", (_text(now - _KEEP),))
    crowded = "SELECT host FROM event GROUP BY host HAVING count(*) > ?"
    connection.execute(f"DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - {_KEEP_ALL}")
    for (host,) in connection.execute(crowded, (_KEEP_EVENTS,)).fetchall():
        kept = "SELECT id FROM event WHERE host IS ? ORDER BY id DESC LIMIT 1 OFFSET ?"
        connection.execute(
            f"DELETE FROM event WHERE host IS ? AND id <= ({kept})",
            (host, host, _KEEP_EVENTS),
        )


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
