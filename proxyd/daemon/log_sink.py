"""Where records go: stderr or the journal. Neither waits for a reader."""

import logging
import sys
from collections.abc import Callable
from typing import Protocol

from proxyd.daemon.journal_socket import JournalSocket
from proxyd.daemon.log_line import journal_fields


class Sink(Protocol):
    """Takes records one by one."""

    def __call__(self, record: logging.LogRecord, /) -> None: ...

    def close(self) -> None:
        """Give back what was opened."""


class StderrSink:
    """Writes each as the `line` of it."""

    def __init__(self, line: Callable[[logging.LogRecord], str]) -> None:
        self._line = line

    def __call__(self, record: logging.LogRecord) -> None:
        """Write it."""
        sys.stderr.write(f"{self._line(record)}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Do nothing: stderr is for others too."""


class JournalSink:
    """Sends each as an entry with fields; `instead` takes them where there is no journal any more."""

    def __init__(self, journal: JournalSocket, *, instead: Sink) -> None:
        self._journal = journal
        self._instead = instead

    def __call__(self, record: logging.LogRecord) -> None:
        """Send it."""
        if not self._journal.send(journal_fields(record)):
            self._instead(record)

    def close(self) -> None:
        """Give the socket back."""
        self._journal.close()
