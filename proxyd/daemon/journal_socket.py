"""Entries for systemd's journal by its native protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/

A small writer of our own: the kept library for it (python-systemd) is C code that must be built against libsystemd.
"""

import array
import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from proxyd.daemon.patience import Patience, rest
from proxyd.daemon.sealed_memory import sealed

PATH: Final = Path("/run/systemd/journal/socket")
_TOO_LARGE: Final = (errno.EMSGSIZE, errno.ENOBUFS)


class JournalSocket:
    """Sends entries and waits for nobody: what is not taken in time is dropped, and it is said how many were."""

    def __init__(self, path: Path = PATH) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._lost = 0
        self._patience = Patience()

    def close(self) -> None:
        """Send no more."""
        self._socket.close()

    def send(self, fields: Mapping[str, str]) -> bool:
        """Send an entry or drop it; return False when there is no journal to send it to."""
        try:
            if self._lost:
                self._send(_lost_fields(self._lost))
                self._lost = 0
            self._send(fields.items())
        except BlockingIOError:
            self._lost += 1
            self._patience.was_in_vain()
        except OSError:
            return False
        return True

    def _send(self, fields: Iterable[tuple[str, str]]) -> None:
        entry = b"".join(_field(name, value) for name, value in fields)
        until = self._patience.until()
        while True:
            try:
                self._socket.sendto(entry, socket.MSG_DONTWAIT, self._path)
                return
            except BlockingIOError:
                if not rest(until):
                    raise
            except OSError as error:
                if error.errno not in _TOO_LARGE:
                    raise
                self._hand_over(entry)
                return

    def _hand_over(self, entry: bytes) -> None:
        """Send what no datagram holds as a sealed file in memory."""
        descriptor = sealed("proxyd-log", entry)
        try:
            passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            self._socket.sendmsg([], passed, socket.MSG_DONTWAIT, self._path)
        finally:
            os.close(descriptor)


def is_there(path: Path = PATH) -> bool:
    """Return whether a journal listens."""
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _field(name: str, value: str) -> bytes:
    written = value.encode("utf-8", "backslashreplace")
    if b"\n" not in written:
        return b"%b=%b\n" % (name.encode(), written)
    return b"%b\n%b%b\n" % (name.encode(), len(written).to_bytes(8, "little"), written)


def _lost_fields(lost: int) -> Iterable[tuple[str, str]]:
    event = "lines of this log are lost: nobody read it"
    yield from {"MESSAGE": f"{lost} {event}", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "proxyd"}.items()
    yield from {"PROXYD_EVENT": event, "PROXYD_LINES": str(lost)}.items()
