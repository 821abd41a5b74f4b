"""Takes log records to where they go, and holds back floods."""

import copy
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from math import inf
from time import monotonic

from proxyd.core.repeats import Repeats
from proxyd.daemon.log_line import MORE
from proxyd.daemon.log_sink import Sink

_OURS = "proxyd"
#: What people are told, once, is not what strangers cause.
_NEVER_HELD = {("proxyd.alerts", "alert")}
#: What tells apart records of the same event.
_ABOUT = ("host", "upstream", "which", "file", "mistake", "at", "key")


class LogHandler(logging.Handler):
    """Writes to a sink, which may be replaced at any time.

    Of each event the first few of a minute are written for each host or upstream, the others counted: strangers and
    broken upstreams cause thousands a second. Who turned `debug` on gets all of that.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink
        self._repeats = Repeats[logging.LogRecord]()
        self._pid = os.getpid()

    def use(self, sink: Sink) -> None:
        """Write there from now on."""
        with self._locked():
            before, self._sink = self._sink, sink
        before.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        if record.levelno > logging.DEBUG and not self._admits(record):
            return
        self._write(record)

    def tell_repeated(self, *, rest: bool = False) -> None:
        """Write how many were held back, of those whose minute is over, or all; to be called every few seconds."""
        with self._locked():
            for record, more in self._own().due(inf if rest else monotonic()):
                again = copy.copy(record)
                again.created = logging.makeLogRecord({}).created  # now
                again.exc_info = None
                setattr(again, MORE, more)
                self._write(again)

    def _locked(self) -> AbstractContextManager[object]:
        return self.lock or nullcontext()

    def _own(self) -> Repeats[logging.LogRecord]:
        """Return what this process counts: what its parent has held back, the parent tells."""
        if self._pid != os.getpid():
            self._pid, self._repeats = os.getpid(), Repeats()
        return self._repeats

    def _admits(self, record: logging.LogRecord) -> bool:
        if (record.name, record.msg) in _NEVER_HELD:
            return True
        is_ours = record.name.split(".", 1)[0] == _OURS  # of others the text may have in it what changes
        kind = (record.name, record.levelno, record.msg if is_ours else None)
        about = tuple(str(found) for key in _ABOUT if (found := getattr(record, key, None)) is not None)
        return self._own().admits(kind, about, record, monotonic())

    def _write(self, record: logging.LogRecord) -> None:
        try:
            self._sink(record)
        except Exception:  # noqa: BLE001 - a line that cannot be shown ends nobody
            self.handleError(record)
