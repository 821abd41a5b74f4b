"""Where log lines go: whoever reads them may be slow or stand still, and nobody waits for that.

A worker that waits serves nobody; a supervisor that waits replaces nobody and hears no TERM.
"""

import io
import os
import select
import socket
import stat
import sys
from collections.abc import Callable

from proxyd.daemon.patience import Patience, rest


class LogOutput(io.RawIOBase):
    """Writes lines to a descriptor. What is not taken in time is dropped, and it is said how many lines were."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._send, self._close = _sender(descriptor)
        self._lost = 0
        self._patience = Patience()
        self._is_torn = False

    def fileno(self) -> int:
        """Return the descriptor as it was given."""
        return self._descriptor

    def close(self) -> None:
        """Close what was opened for it, not the descriptor."""
        if not self.closed:
            self._close()
        super().close()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override] # any buffer: it is a TextIOWrapper that writes
        """Write lines or drop them; return their size in any case."""
        lines = told = bytes(data)
        if self._lost:
            end = b"\n" * self._is_torn
            told = b"%b%d lines of this log are lost: nobody read it\n%b" % (end, self._lost, lines)
        left = self._unsent(told)
        if left:
            self._patience.was_in_vain()
        self._lost = left.count(b"\n") if len(left) <= len(lines) else self._lost + lines.count(b"\n")
        if len(left) < len(told):
            self._is_torn = not told[: len(told) - len(left)].endswith(b"\n")
        return len(lines)

    def _unsent(self, lines: bytes) -> bytes:
        """Return what was not taken."""
        until = self._patience.until()
        while lines:
            try:
                lines = lines[self._send(lines) :]
            except BlockingIOError:
                if not rest(until):
                    break
            except OSError:  # the reader is gone, or the disk is full
                break
        return lines


def set_up_stderr() -> None:
    """Have everything that this process writes to stderr go through a LogOutput."""
    try:
        descriptor = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        return
    sys.stderr = io.TextIOWrapper(LogOutput(descriptor), errors="backslashreplace", write_through=True)


def _sender(descriptor: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """Return what writes and never waits, and what ends that. The descriptor's flags stay: others share it."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        connected = socket.socket(fileno=os.dup(descriptor))
        return lambda lines: connected.send(lines, socket.MSG_DONTWAIT), connected.close
    if not stat.S_ISFIFO(mode) and not os.isatty(descriptor):
        return lambda lines: os.write(descriptor, lines), lambda: None
    try:
        opened = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # another user's: a look before has to do
        return lambda lines: _write_if_ready(descriptor, lines), lambda: None
    return lambda lines: os.write(opened, lines), lambda: os.close(opened)


def _write_if_ready(descriptor: int, lines: bytes) -> int:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, lines[: select.PIPE_BUF])
