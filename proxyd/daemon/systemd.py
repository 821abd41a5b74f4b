"""The notify protocol of systemd: sd_notify(3). Does nothing where nobody listens."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger("proxyd.systemd")
_STATUS_SECONDS = _PATIENCE = 1.0
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START


class Notify(Protocol):
    """Tells the service manager."""

    def __call__(self, *lines: str) -> None: ...


class StatusLine:
    """What the service manager shows of us; however often it changes, it is told at most every so many `seconds`."""

    def __init__(self, words: Callable[[], str], notify: Notify, *, seconds: float = _STATUS_SECONDS) -> None:
        self._words = words
        self._notify = notify
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
        self._notify(f"STATUS={self._words()}")


def notify(*lines: str) -> None:
    """Send `READY=1` and the like to the service manager; a lost message is only logged."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(_PATIENCE)
            sock.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        _log.warning("systemd was not notified", extra={"reason": error.strerror or "it does not listen"})


def reloading() -> tuple[str, str]:
    """Return what tells that a reload began; `READY=1` tells its end."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def passed_sockets() -> list[socket.socket]:
    """Return the listening sockets of sd_listen_fds(3) that are for this process; the second call returns none."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    found = []
    for descriptor in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        try:
            sock = socket.socket(fileno=descriptor)
            is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            _log.warning("systemd passed what is no socket", extra={"number": descriptor, "reason": error.strerror})
            continue
        if not is_listening or sock.family not in (socket.AF_INET, socket.AF_INET6):
            _log.warning("systemd passed a socket that listens on no TCP port", extra={"number": descriptor})
            sock.close()
            continue
        os.set_inheritable(descriptor, False)
        sock.setblocking(False)
        found.append(sock)
    return found
