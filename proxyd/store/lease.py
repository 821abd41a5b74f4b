"""Who orders certificates for a cache: at most one process at a time, on one machine or several."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxyd.core.clock import Clock
from proxyd.store.file_mode import make_readable

#: So long a sign of life may be away before another process takes over; on one machine the end of a process counts.
LIFE_SECONDS = 30.0
_SETTLE_SECONDS = 0.3  # two that take it at once both see who came last
_SIZE = 512  # always overwritten in place: a full disk does not stop it
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process: `boot` tells machines and their starts apart, `token` processes."""

    pid: int
    host: str
    boot: str
    token: str

    @classmethod
    def this_process(cls) -> "Owner":
        """Return ourselves."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            boot = socket.gethostname()
        return cls(pid=os.getpid(), host=socket.gethostname()[:64], boot=boot, token=secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class Ours:
    """This process orders."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """Another one does; None: one that did not say who it is."""

    owner: Owner | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The disk does not tell: nobody orders."""

    reason: str


Turn = Ours | Theirs | Unknown


class Lease:
    """A file with a lock and a sign of life. All methods block on the disk and never raise for its state.

    The lock alone decides between processes of one machine, as long as the owner gives signs of life; where locks do
    not work, or the owner is stopped, the sign of life does. `make_place` makes the directory that `path` is in.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        owner: Owner,
        make_place: Callable[[], None] = lambda: None,
        settle: float = _SETTLE_SECONDS,
    ) -> None:
        self._path = path
        self._make_place = make_place
        self._clock = clock
        self._owner = owner
        self._settle = settle
        self._descriptor: int | None = None
        self._beat = 0
        self._seen: tuple[bytes, float] | None = None  # the last sign of life of another one, and when we first saw it

    def hold(self) -> Turn:
        """Take the lease, or keep it with a new sign of life."""
        try:
            if self._descriptor is not None:
                if self.is_ours():
                    with contextlib.suppress(OSError):  # a full disk: the lock still holds
                        self._write(self._descriptor)
                    return Ours()
                self._close()
            return self._acquire()
        except OSError as error:
            self._close()
            return Unknown(f"{self._path}: {error.strerror}")

    def is_ours(self) -> bool:
        """Return whether the disk still says that this process orders."""
        if self._descriptor is None:
            return False
        try:
            named, ours = self._path.lstat(), os.fstat(self._descriptor)
            if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
                return False
            owner = _owner(os.pread(self._descriptor, _SIZE, 0))
        except OSError:
            return False
        return owner is not None and owner.token == self._owner.token

    def release(self) -> None:
        """Let another process order, at once."""
        if self._descriptor is not None and self.is_ours():
            with contextlib.suppress(OSError):
                os.pwrite(self._descriptor, b" " * _SIZE, 0)
        self._close()

    def _acquire(self) -> Turn:
        descriptor = self._opened()
        try:
            locked = _lock(descriptor)
            content = os.pread(descriptor, _SIZE, 0)
            owner = _owner(content)
            gone = owner is None or (owner.boot == self._owner.boot and (locked is True or not _runs(owner.pid)))
            if (locked is not False and gone) or (owner is not None and self._is_silent(content)):
                if locked is False:
                    os.close(descriptor)
                    descriptor = self._new_file()
                taken, descriptor = descriptor, -1
                return self._take(taken, settle=locked is not True)
            if owner is None:  # another one is about to write its name
                self._seen = None
            return Theirs(owner)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _take(self, descriptor: int, *, settle: bool) -> Turn:
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # not ours: its owner decides
            os.fchmod(descriptor, 0o600)
        self._write(descriptor)
        if settle:
            time.sleep(self._settle)
        if self.is_ours():
            self._seen = None
            return Ours()
        self._close()
        return Theirs(None)

    def _is_silent(self, content: bytes) -> bool:
        """Return whether the other's sign of life has not changed for its time; by our own clock alone."""
        now = self._clock.monotonic()
        if self._seen is None or self._seen[0] != content:
            self._seen = content, now
        return now - self._seen[1] >= LIFE_SECONDS

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        if not self._path.parent.is_dir():  # somebody took the cache away
            self._make_place()
        try:
            descriptor = os.open(self._path, flags, 0o600)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
        except PermissionError:
            if not make_readable(self._path):
                raise
            return os.open(self._path, flags, 0o600)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise
        self._path.rename(self._path.with_name(f"{self._path.name}.broken-{secrets.token_hex(6)}"))
        return os.open(self._path, flags, 0o600)

    def _new_file(self) -> int:
        """Put a file of ours in the place of the one that a stopped process has locked."""
        new = self._path.with_name(f"{self._path.name}.{self._owner.token}")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor)
            self._write(descriptor)
            new.rename(self._path)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        return descriptor

    def _write(self, descriptor: int) -> None:
        self._beat += 1
        one = self._owner
        document = {"pid": one.pid, "host": one.host, "boot": one.boot, "token": one.token, "beat": self._beat}
        os.pwrite(descriptor, json.dumps(document).encode().ljust(_SIZE), 0)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> bool | None:
    """Return whether we have the lock; None where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _owner(content: bytes) -> Owner | None:
    try:
        fields = json.loads(content)
        pid, texts = fields["pid"], [fields[key] for key in ("host", "boot", "token")]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(pid, int) or pid <= 0 or not all(isinstance(one, str) for one in texts):
        return None
    return Owner(pid=pid, host=texts[0], boot=texts[1], token=texts[2])


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
