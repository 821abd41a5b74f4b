"""A log file that others move away, cut or fill the disk of, and that several processes append to."""

import errno
import logging
import os
import select
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

from proxyd.core.alarm import Alarm
from proxyd.core.trouble import TroubleKind
from proxyd.daemon.logs import whole_lines

_log = logging.getLogger("proxyd.access")
_MOST_WAITING: Final = 8 * 2**20
#: Who moves the file away without a word is noticed after so many seconds.
_LOOK_SECONDS: Final = 1.0
_PATIENCE_MS: Final = 100
_CLOSE_SECONDS: Final = 2.0
_TO_DO: Final = "Do what the text says: until then requests are served, and their lines are lost."

#: Hears why the file cannot be written, once; then None and how many lines are lost.
Tell = Callable[[str | None, int], None]


class LogFile:
    """Appends whole lines, from a thread of its own: nobody waits for a disk. What a disk does not take is dropped."""

    def __init__(self, path: Path, *, tell: Tell) -> None:
        self.path = path
        self._tell = tell
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._waiting = 0
        self._is_due = self._is_closing = False
        self._thread: threading.Thread | None = None
        # Of the thread:
        self._descriptor = -1
        self._is_regular = True
        self._looked_at = 0.0
        self._is_torn = False
        self._lost = 0
        self._trouble: str | None = None

    def reopen(self) -> None:
        """Open the file anew, or at first: it may have been moved away."""
        with self._changed:
            self._is_due = True
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
            self._thread.start()

    def write(self, text: str) -> None:
        """Append lines soon, or drop them when the disk has stood still for long."""
        with self._changed:
            if self._waiting > _MOST_WAITING:
                self._lost += text.count("\n")
                return
            self._lines.append(text)
            self._waiting += len(text)
            self._changed.notify()

    def end(self) -> None:
        """Write what there is, then nothing more; waits for nothing."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    def close(self) -> None:
        """Write what there is; waits for it, but not for a disk that stands still."""
        self.end()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._lines or self._is_due or self._is_closing):
                    self._changed.wait()
                lines, self._lines, self._waiting = "".join(self._lines), [], 0
                is_due, self._is_due = self._is_due, False
                is_closing = self._is_closing
            if is_due or self._has_moved():
                self._leave()
            self._append(lines)
            if is_closing:
                self._leave()
                return

    def _append(self, lines: str) -> None:
        try:
            if self._descriptor < 0:
                self._open()
            at = 0
            for some in self._at_once(lines):
                try:
                    self._send(some)
                except OSError:
                    self._drop(lines[at:])
                    raise
                at += len(some)
        except OSError as error:
            if self._descriptor < 0:
                self._drop(lines)
            if self._trouble is None:
                self._trouble = f"{error.strerror}: {_next_step(error, self.path)}"
                self._tell(self._trouble, 0)
        else:
            if lines and (self._trouble is not None or self._lost):
                with self._changed:
                    lost, self._lost = self._lost, 0
                self._trouble = None
                self._tell(None, lost)

    def _drop(self, lines: str) -> None:
        with self._changed:
            self._lost += lines.count("\n")

    def _open(self) -> None:
        """As another's pipe may be there: without waiting for its reader, nor becoming anybody's terminal."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        self._descriptor = os.open(self.path, flags, 0o600)
        self._is_regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._looked_at = monotonic()

    def _leave(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._is_torn = False

    def _has_moved(self) -> bool:
        if self._descriptor < 0 or (now := monotonic()) - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = now
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))  # noqa: PTH116 - beside fstat
        except OSError:
            return True

    def _at_once(self, lines: str) -> Iterator[str]:
        """Return what goes out as one, so that no line of another process comes between."""
        return iter([lines]) if self._is_regular else whole_lines(lines)

    def _send(self, lines: str) -> None:
        data = b"\n" * self._is_torn + lines.encode()
        while data:
            try:
                sent = os.write(self._descriptor, data)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                if not poll.poll(_PATIENCE_MS):
                    raise OSError(errno.EAGAIN, "nobody reads it") from None
                continue
            self._is_torn = not data[:sent].endswith(b"\n")
            data = data[sent:]


class FileTroubles:
    """Knows and logs once, whichever processes write a file, that it cannot be written, and when it can again."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._troubled: dict[int, str] = {}
        self._lost = 0

    def use(self, path: Path | None) -> None:
        """Hear of this file from now on."""
        if path != self._path:
            self._path, self._lost = path, 0
            self._troubled.clear()

    @property
    def alarm(self) -> Alarm | None:
        """Return why lines are lost now, or None."""
        for reason in [*self._troubled.values()]:  # a copy: others may be heard of meanwhile, in another thread
            words = f"the access log {self._path} cannot be written: {reason}"
            return Alarm(reason=words, to_do=_TO_DO, kind=TroubleKind.ACCESS_LOG_FAILED)
        return None

    def heard(self, place: int, path: Path, reason: str | None, lost: int) -> None:
        """Hear of the process at a place; `reason` is None when it writes again."""
        if path != self._path:  # it was just given up
            return
        was_troubled = bool(self._troubled)
        if reason is not None:
            self._troubled[place] = reason
            if not was_troubled:
                _log.error("the access log cannot be written", extra={"file": path, "reason": reason})
            return
        self._troubled.pop(place, None)
        self._lost += lost
        if not self._troubled:
            lost, self._lost = self._lost, 0
            _log.warning("the access log is written again", extra={"file": path, "lost_lines": lost})

    def gone(self, place: int) -> None:
        """Expect nothing of the process at a place."""
        self._troubled.pop(place, None)


def _next_step(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"make the directory {path.parent}"
        case errno.EACCES | errno.EPERM:
            return "let the user of the daemon write there"
        case errno.EROFS:
            return f"is ReadWritePaths={path.parent} or LogsDirectory=proxyd in the unit of the service?"
        case errno.EISDIR:
            return "name a file in it"
        case errno.ENOSPC | errno.EDQUOT:
            return "make room"
        case _:
            return "tried again with each line"
