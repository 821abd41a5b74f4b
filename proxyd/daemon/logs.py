"""Log lines: an event and its fields, for a person, the journal or a machine."""

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from select import PIPE_BUF
from typing import Literal

from proxyd.daemon.access_line import AccessLine, quoted
from proxyd.proxy.access_log import Show

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def set_up(*, level: str, format: Literal["auto", "json", "console"]) -> None:
    """Send all logs to stderr, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(_json if format == "json" else _journal if _under_journal() else _console))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("proxyd").setLevel(level.upper())


def access_line(format: Literal["auto", "json", "console"]) -> Show:
    """Return how a request is shown, like all other lines."""
    line = AccessLine()
    return line.json if format == "json" else line.journal if _under_journal() else line.plain


def write_lines(text: str) -> None:
    """Write whole lines where all others go, so many at once that those of another process cannot come between."""
    at = 0
    while len(text) - at > PIPE_BUF:  # pipe(7): up to so much is written as one; non-ASCII is escaped in these lines
        end = text.rfind("\n", at, at + PIPE_BUF) + 1 or text.find("\n", at) + 1 or len(text)
        sys.stderr.write(text[at:end])
        sys.stderr.flush()
        at = end
    sys.stderr.write(text[at:])
    sys.stderr.flush()


def tell_why(group: BaseExceptionGroup[BaseException]) -> None:
    """Log each error that keeps the daemon from starting."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            tell_why(error)
        else:
            logging.getLogger("proxyd").error("cannot start: %s", error)


class _LineFormatter(logging.Formatter):
    def __init__(self, line: Callable[[logging.LogRecord, dict[str, object]], str]) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return self._line(record, fields)


def _json(record: logging.LogRecord, fields: dict[str, object]) -> str:
    shown = {
        key: value if isinstance(value, int | float | bool) or value is None else _value(value)
        for key, value in fields.items()
    }
    head = {
        "time": _moment(record),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": record.getMessage(),
    }
    return json.dumps({**head, **shown}, ensure_ascii=False)


def _console(record: logging.LogRecord, fields: dict[str, object]) -> str:
    return f"{_moment(record)} {record.levelname:7} {_plain(record, fields)}"


def _journal(record: logging.LogRecord, fields: dict[str, object]) -> str:
    # The journal has the time; the priority is read from <N> (sd-daemon(3)).
    return f"<{_PRIORITY.get(record.levelno, 6)}>{_plain(record, fields)}"


def _plain(record: logging.LogRecord, fields: dict[str, object]) -> str:
    told = (f"{key}={quoted(_value(value))}" for key, value in fields.items() if value is not None)
    return " ".join([record.getMessage(), *told])


def _moment(record: logging.LogRecord) -> str:
    return _utc(datetime.fromtimestamp(record.created, UTC))


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return str(value)


def _under_journal() -> bool:
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
