"""A handler as the daemon makes it, that logs into a list."""

from proxyd.core.counters import Counters
from proxyd.daemon.system_clock import SystemClock
from proxyd.proxy.access_log import AccessLog
from proxyd.proxy.date_line import DateLine
from proxyd.proxy.handler import Handler
from proxyd.proxy.traffic import Traffic


def make_handler(lines: list[str] | None = None) -> Handler:
    """Return a handler without sites; what it logs is appended to `lines`."""
    clock = SystemClock()
    kept = [] if lines is None else lines
    log = AccessLog(lambda record, at: f"{at} {record}", write=kept.append, clock=clock)
    return Handler(Traffic(clock=clock), log=log, date=DateLine(clock), counters=Counters())
