"""The notify protocol of systemd: sd_notify(3). Does nothing where nobody listens."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable

_log = logging.getLogger("proxyd.systemd")
_STATUS_SECONDS = 1.0


class StatusLine:
    """What the service manager shows of us; however often it changes, it is told at most every so many `seconds`."""

    def __init__(self, words: Callable[[], str], *, seconds: float = _STATUS_SECONDS) -> None:
        self._words = words
        self._seconds = seconds
        self._told = float("-inf")
        self._waiting = False

    def changed(self) -> None:
        """Tell it now, or soon."""
        if not self._waiting:
            self._waiting = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(self._told + self._seconds, loop.time()), self._tell)

    def _tell(self) -> None:
        self._waiting = False
        self._told = asyncio.get_running_loop().time()
        notify(f"STATUS={self._words()}")


def notify(*lines: str) -> None:
    """Send `READY=1` and the like to the service manager; a lost message is only logged."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        _log.warning("systemd was not notified", extra={"reason": error.strerror})


def notify_reloading() -> None:
    """Tell that a reload began; `READY=1` tells its end."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
