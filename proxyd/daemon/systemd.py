"""The notify protocol of systemd: sd_notify(3). Does nothing where nobody listens."""

import logging
import os
import socket
import time

_log = logging.getLogger("proxyd.systemd")


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
