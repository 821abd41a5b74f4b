"""A process of the daemon: as its supervisor sees it, and what it does to be seen."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence

from proxyd.daemon.channel import Channel, Message, send, send_sockets

_PR_SET_PDEATHSIG = 1
_BEAT_SECONDS = 0.5
#: In looks of the supervisor, one a second: those that it misses itself, stopped or swapped out, do not count. At first
#: a large journal is read, perhaps from a slow disk.
_SILENT, _SILENT_AT_FIRST = 10, 300
#: Who ends sooner is started again later and later.
_SHORT_LIFE = 10.0
_PAUSES = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)


class Child:
    """One place for a process; `pid` is 0 while there is none, which is due at `born_from`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        self.born_from = 0.0
        self.is_ready = False
        self.line: socket.socket | None = None
        self._born = 0.0
        self._beats = 0
        self._silence = 0
        self._short_lives = 0

    def began(self, pid: int, line: socket.socket, now: float) -> None:
        """Take a new process."""
        self.pid, self.line, self._born = pid, line, now
        self.is_ready = False
        self._beats = self._silence = 0

    def ended(self, now: float) -> None:
        """Hear that it ended; the next comes at once, and later each time when they do not live long."""
        if now - self._born >= _SHORT_LIFE:
            self._short_lives = 0
        self.born_from = now + _PAUSES[min(self._short_lives, len(_PAUSES) - 1)]
        self._short_lives += 1
        self.pid = 0
        self.close()

    def is_late(self, now: float) -> None:
        """Hear that there is no room for it now."""
        self.born_from = now + _PAUSES[2]

    def is_frozen(self, beats: int) -> bool:
        """Note how often its event loop came round; return whether it has not for too long."""
        self._silence = self._silence + 1 if beats == self._beats else 0
        self._beats = beats
        return self._silence == (_SILENT if beats else _SILENT_AT_FIRST)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if there is somebody."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def tell(self, **message: object) -> None:
        """Tell it something; one that hangs may miss it."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                send(self.line, json.dumps(message).encode(), b"")

    def hand(self, sockets: Sequence[socket.socket], **message: object) -> None:
        """Tell it something with sockets that are for it; one that hangs may miss them."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                send_sockets(self.line, message, sockets)

    def close(self) -> None:
        """Hear it no more."""
        if self.line is not None:
            self.line.close()
            self.line = None


class Life:
    """In the child: it ends with its supervisor, shows that it is alive, and tells what the supervisor should know."""

    def __init__(self, line: socket.socket, beats: memoryview, number: int, *, supervisor: int) -> None:
        self._line = line
        self._beats = beats
        self._number = number
        self._channel: Channel | None = None
        #: Hears what the supervisor tells.
        self.told: Callable[[Message], None] = lambda _: None
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)  # it ended before we asked

    def begin(self) -> None:
        """Show signs of life from now on; in the event loop."""
        self._channel = Channel(self._line, lambda message, _: self.told(message))
        self._beat(asyncio.get_running_loop())

    def ready(self) -> None:
        """Tell that we do our work."""
        self._tell({"ready": True})

    def notify(self, *lines: str) -> None:
        """Have the service manager told."""
        self._tell({"notify": lines})

    def configuration(self, generation: int, pickled: bytes) -> None:
        """Tell with which configuration processes are started from now on."""
        self._tell({"configuration": generation}, pickled)

    def listen(self, generation: int, pickled: bytes) -> None:
        """Ask for sockets at all the addresses that are written, for who will serve a generation."""
        self._tell({"listen": generation}, pickled)

    def unlisten(self, generation: int) -> None:
        """Tell that nobody will serve it."""
        self._tell({"unlisten": generation})

    def served(self, news: Message) -> None:
        """Tell which certificates serve: processes that are started know it from the beginning."""
        self._tell({"served": news})

    def _tell(self, message: Message, payload: bytes = b"") -> None:
        if self._channel is not None:
            self._channel.send(message, payload)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beats[self._number] += 1
        loop.call_later(_BEAT_SECONDS, self._beat, loop)


def how_it_ended(code: int) -> str:
    """Return in words how a process ended, by its exit code, or minus a signal."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
