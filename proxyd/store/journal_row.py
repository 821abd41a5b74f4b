"""Rows of the journal as they are read: a damaged one is left out and costs no other."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent, JsonValue
from proxyd.core.moment import read_moment

EVENT_COLUMNS = "at, host, kind, issuer, fields"
#: Of each row of a document; `documents_of` takes them.
DOCUMENTS = "SELECT name, document, rowid FROM state"
Row = tuple[Any, ...]


def text_or_bytes(value: bytes) -> str | bytes:
    """Return a text of the database; one flipped bit makes it bytes, for which SQLite would refuse all rows."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def documents_of(rows: Iterable[Row]) -> tuple[dict[str, Mapping[str, JsonValue]], list[int]]:
    """Return the documents by name, and the row numbers of those that cannot be read."""
    found: dict[str, Mapping[str, JsonValue]] = {}
    lost = []
    for name, text, number in rows:
        document = _document(text)
        if document is None or not isinstance(name, str):
            lost.append(number)
        else:
            found[name] = document
    return found, lost


def events_of(rows: Iterable[Row]) -> list[JournalEvent]:
    """Return the events of rows of `EVENT_COLUMNS`, without those that cannot be read."""
    return [event for row in rows if (event := _event(row)) is not None]


def _event(row: Row) -> JournalEvent | None:
    text, host, kind, issuer, fields = row
    at, name = read_moment(text), _host(host) if isinstance(host, str) else None
    if at is None or not isinstance(kind, str) or (host is not None and name is None):
        return None
    known_issuer = issuer if isinstance(issuer, str) else None
    return JournalEvent(at=at, host=name, kind=kind, issuer=known_issuer, fields=_document(fields) or {})


def _host(text: str) -> Hostname | None:
    """Return a name, or a wildcard host's: of these, too, it is kept what happened."""
    if text == "*" or (text.startswith("*.") and Hostname.from_wire(text[2:])):
        return Hostname(text)
    return Hostname.from_wire(text)


def _document(text: object) -> Mapping[str, JsonValue] | None:
    """Return the JSON object in a column, or None."""
    try:
        document = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
