"""The log: events with fields to stderr or the journal."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from select import PIPE_BUF
from typing import Literal

from proxyd.daemon import journal_socket
from proxyd.daemon.journal_socket import JournalSocket
from proxyd.daemon.log_handler import LogHandler
from proxyd.daemon.log_line import console_line, journal_line, json_line
from proxyd.daemon.log_sink import JournalSink, Sink, StderrSink

Written = Literal["auto", "json", "console"]
#: What `auto` means here; `journal`: lines whose priority the journal reads from <N>.
Form = Literal["json", "console", "journal"]
_TELL_SECONDS = 5.0


def set_up(*, level: str, format: Written, journal: Path = journal_socket.PATH) -> None:
    """Send all logs to stderr, one line each; with `auto` under systemd to the journal, entries with fields."""
    sink = _sink(format, journal)
    root = logging.getLogger()
    if found := _handler():
        found.use(sink)
    else:
        root.handlers[:] = [LogHandler(sink)]
    root.setLevel(logging.WARNING)
    logging.getLogger("proxyd").setLevel(level.upper())


def form(format: Written) -> Form:
    """Return how lines on stderr are written."""
    if format == "json":
        return "json"
    if _under_journal():
        return "journal"
    return "console" if format == "console" or _on_terminal() else "json"


def write_lines(text: str) -> None:
    """Write whole lines where all others go, so many at once that those of another process cannot come between."""
    for lines in whole_lines(text):
        sys.stderr.write(lines)
        sys.stderr.flush()


def whole_lines(text: str) -> Iterator[str]:
    """Yield as many lines at once as a pipe takes as one (pipe(7)); non-ASCII is escaped in these lines."""
    at = 0
    while len(text) - at > PIPE_BUF:
        end = text.rfind("\n", at, at + PIPE_BUF) + 1 or text.find("\n", at) + 1 or len(text)
        yield text[at:end]
        at = end
    yield text[at:]


async def tell_repeated() -> None:
    """Say how many equal lines were held back, for ever. Ends only by cancellation; says the rest then."""
    try:
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            tell_repeated_now()
    finally:
        tell_repeated_now(rest=True)


def tell_repeated_now(*, rest: bool = False) -> None:
    """Say how many equal lines were held back in a minute that is over; `rest`: in one that is not over, too."""
    if handler := _handler():
        handler.tell_repeated(rest=rest)


def tell_why(group: BaseExceptionGroup[BaseException]) -> None:
    """Log each error that keeps the daemon from starting."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            tell_why(error)
        else:
            logging.getLogger("proxyd").error("cannot start", extra={"reason": str(error)})


def _handler() -> LogHandler | None:
    return next((one for one in logging.getLogger().handlers if isinstance(one, LogHandler)), None)


def _sink(format: Written, journal: Path) -> Sink:
    match form(format):
        case "json":
            return StderrSink(json_line)
        case "console":
            return StderrSink(console_line)
        case "journal":
            lines = StderrSink(journal_line)
            if format != "auto" or not journal_socket.is_there(journal):
                return lines
            return JournalSink(JournalSocket(journal), instead=lines)


def _under_journal() -> bool:
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _on_terminal() -> bool:
    try:
        return os.isatty(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
