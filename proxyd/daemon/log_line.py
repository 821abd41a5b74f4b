"""A log record as a line or as fields: for a person, the journal or a machine."""

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from proxyd.daemon.access_line import quoted

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PRIORITY: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
#: How many more like this one were not written; a field of the line that says so.
MORE: Final = "more"
_NO_FIELD_NAME: Final = re.compile("[^A-Z0-9_]")
_LONGEST_NAME: Final = 64  # systemd.journal-fields(7)


def json_line(record: logging.LogRecord) -> str:
    """Return a JSON object."""
    fields = {
        key: value if isinstance(value, int | float | bool) or value is None else _value(value)
        for key, value in _fields(record).items()
    }
    head = {
        "time": _moment(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": record.getMessage(),
    }
    return json.dumps({**head, **fields, **head}, ensure_ascii=False)


def console_line(record: logging.LogRecord) -> str:
    """Return a line for a person."""
    return f"{_moment(record)} {record.levelname:7} {_plain(record)}"


def journal_line(record: logging.LogRecord) -> str:
    """Return a line for the journal, which has the time and reads the priority from <N> (sd-daemon(3))."""
    return f"<{_priority(record)}>{_plain(record)}"


def journal_fields(record: logging.LogRecord) -> Mapping[str, str]:
    """Return the fields of an entry of the journal (systemd.journal-fields(7)); ours begin with PROXYD_."""
    found = {"MESSAGE": _plain(record), "PRIORITY": str(_priority(record)), "SYSLOG_IDENTIFIER": "proxyd"}
    for key, value in _fields(record).items():
        if value is not None:
            found[f"PROXYD_{_NO_FIELD_NAME.sub('_', key.upper())}"[:_LONGEST_NAME]] = _value(value)
    return {**found, "PROXYD_EVENT": record.getMessage(), "PROXYD_LOGGER": record.name}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if record.exc_info:
        found["traceback"] = logging.Formatter().formatException(record.exc_info)
    return found


def _priority(record: logging.LogRecord) -> int:
    return _PRIORITY.get(record.levelno, 6)


def _plain(record: logging.LogRecord) -> str:
    fields = _fields(record)
    more = fields.pop(MORE, None)
    again = f"… and {more:,} more like it in the last minute" if isinstance(more, int) else ""
    told = (f"{key}={quoted(_value(value))}" for key, value in fields.items() if value is not None)
    return " ".join([record.getMessage(), *[again] * bool(again), *told])


def _moment(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value)
