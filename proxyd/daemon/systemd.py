"""The notify protocol of systemd: sd_notify(3). Does nothing where nobody listens."""

import array
import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

_log = logging.getLogger("proxyd.systemd")
_STATUS_SECONDS = _PATIENCE = 1.0
_LOOK_SECONDS = 5.0
#: Between the last process's end and ours.
_GRACE = 5.0
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START


class Notify(Protocol):
    """Tells the service manager."""

    def __call__(self, *lines: str) -> None: ...


class StatusLine:
    """What the service manager shows of us: looked at again when it `changed`, and now and then.

    `look` takes what the words are made of, in the event loop; what it returns makes them, in a thread. `above`: what
    is said before them, without a look. `seconds`: so long at least between two looks, and fifty times as long as one
    took.
    """

    def __init__(
        self,
        look: Callable[[], Callable[[], str]],
        notify: Notify,
        *,
        first: str,
        above: Callable[[], str | None] = lambda: None,
        seconds: float = _STATUS_SECONDS,
    ) -> None:
        self._words = self._told = first
        self._above = above
        self._look = look
        self._notify = notify
        self._seconds = seconds
        self._wish = asyncio.Event()

    @property
    def text(self) -> str:
        """Return it as it is now."""
        return "; ".join(one for one in (self._above(), self._words) if one)

    def changed(self) -> None:
        """Look again soon."""
        self._wish.set()

    async def run(self) -> None:
        """Tell every change. Ends only by cancellation."""
        loop = asyncio.get_running_loop()
        while True:
            self._wish.clear()
            began = loop.time()
            try:
                self._words = await asyncio.to_thread(self._look())
            except Exception:  # noqa: BLE001 - a line for people must not end the daemon
                _log.exception("how things are could not be told")
            took = loop.time() - began
            if (text := self.text) != self._told:
                self._told = text
                self._notify(f"STATUS={text}")
            await asyncio.sleep(max(self._seconds, 50 * took))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wish.wait()


class Watchdog:
    """Shows systemd that we live (`WatchdogSec=`): `alive` is called as often as one likes, by who must not hang."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        limit, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        is_ours = limit.isdigit() and int(limit) > 0 and pid in ("", str(os.getpid()))
        #: Three times within the limit: one message may be lost. None: nobody watches.
        self.seconds = int(limit) / 3e6 if is_ours else None
        self._due = float("-inf")

    def alive(self, now: float) -> None:
        """Tell it, when it is time again; `now` is monotonic."""
        if self.seconds is not None and now >= self._due:
            self._due = now + self.seconds
            self._notify("WATCHDOG=1")

    async def run(self) -> None:
        """Tell it as often as the event loop comes round. Ends only by cancellation."""
        while self.seconds is not None:
            self.alive(asyncio.get_running_loop().time())
            await asyncio.sleep(self.seconds)


def notify(*lines: str) -> None:
    """Send `READY=1` and the like to the service manager; a lost message is only logged."""
    _send(lines)


def keep(name: str, sockets: Sequence[socket.socket]) -> None:
    """Have sockets kept for who comes after us (`FileDescriptorStoreMax=`), until the service is stopped for good."""
    _send(("FDSTORE=1", f"FDNAME={name}"), sockets)


def forget(name: str) -> None:
    """Have the sockets of that name kept no longer."""
    _send(("FDSTOREREMOVE=1", f"FDNAME={name}"))


def reloading() -> tuple[str, str]:
    """Return what tells that a reload began; `READY=1` tells its end."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def stopping(seconds: float) -> tuple[str, str]:
    """Return what tells that we stop, and may take so long for it, whatever `TimeoutStopSec=` says."""
    return "STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((seconds + _GRACE) * 1e6)}"


@dataclass(frozen=True, slots=True)
class Passed:
    """A listening socket that systemd passed in: of a socket unit, or one that it kept; `name`: its FDNAME."""

    name: str
    sock: socket.socket


def passed_sockets() -> list[Passed]:
    """Return the listening sockets of sd_listen_fds(3) that are for this process; the second call returns none."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    names += [""] * int(count)
    found = ((name, _listening(_FIRST_PASSED + place)) for place, name in enumerate(names[: int(count)]))
    return [Passed(name, sock) for name, sock in found if sock is not None]


def _listening(descriptor: int) -> socket.socket | None:
    try:
        sock = socket.socket(fileno=descriptor)
        is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        _log.warning("systemd passed what is no socket", extra={"number": descriptor, "reason": error.strerror})
        return None
    if not is_listening or sock.family not in (socket.AF_INET, socket.AF_INET6):
        _log.warning("systemd passed a socket that listens on no TCP port", extra={"number": descriptor})
        sock.close()
        return None
    os.set_inheritable(descriptor, False)
    sock.setblocking(False)
    return sock


def _send(lines: Sequence[str], sockets: Sequence[socket.socket] = ()) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    passed = array.array("i", [one.fileno() for one in sockets])
    attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)] if passed else []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(_PATIENCE)
            sock.sendmsg(["\n".join(lines).encode()], attached, 0, address)
    except OSError as error:
        _log.warning("systemd was not notified", extra={"reason": error.strerror or "it does not listen"})
