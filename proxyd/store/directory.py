"""A directory as a store, readable by autocert's DirCache: one file a key, mode 0600, directory 0700."""

import contextlib
import errno
import logging
import os
import secrets
import stat
from pathlib import Path

from proxyd.core.clock import Clock
from proxyd.store.file_mode import make_readable
from proxyd.store.store import DamagedError, StoreError

#: Everything that is not a certificate or account key; '+' occurs in no host name.
PRIVATE = "+proxyd"
_MAX_BYTES = 1 << 20
_MAX_NAME = 200
#: What a killed process left is cleared after this; another process may be writing what is younger.
_LEFTOVER_SECONDS = 600
_MAX_WARNINGS = 20
_PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.ESTALE)
_log = logging.getLogger("proxyd.store")


class DirectoryStore:
    """Implements Store. Temporary and broken files live in a subdirectory, so none is ever taken for a certificate.

    `only_looks`: modes are left as they are, because somebody else owns the cache now.
    """

    def __init__(self, root: Path, *, clock: Clock, place: str | None = None, only_looks: bool = False) -> None:
        self._root = root
        self._clock = clock
        self._only_looks = only_looks
        self._private = root / PRIVATE
        self._place = root if place is None else self._private / place
        self._temporary = self._private / "tmp"
        self._aside = self._private / "aside"
        self._seen: tuple[int, int] | None = None
        self._tightened = 0
        self.trouble: str | None = None

    def load(self, key: str) -> bytes | None:
        path = self._path(key)
        try:
            descriptor = self._opened(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise DamagedError(f"{path} is not a regular file")
            if status.st_mode & 0o077 and not self._only_looks:
                self._tighten(path, descriptor)
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(descriptor)
        if len(content) > _MAX_BYTES:
            raise DamagedError(f"{path} is over {_MAX_BYTES} bytes")
        return content

    def save(self, key: str, content: bytes) -> None:
        path = self._path(key)
        temporary = self._temporary / secrets.token_hex(12)
        try:
            self.make_directories()
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            try:
                temporary.replace(path)
            except IsADirectoryError:
                self.set_aside(key)
                temporary.replace(path)
            sync_directory(self._place)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StoreError(f"{path} cannot be written: {error.strerror}; {self._advice(error)}") from error
        self.trouble = None

    def remove(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self._path(key)} cannot be deleted: {error.strerror}") from error

    def set_aside(self, key: str) -> str:
        moment = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
        target = self._aside / f"{key[:_MAX_NAME]}.{moment}.{secrets.token_hex(3)}"
        try:
            self.make_directories()
            self._path(key).rename(target)
            sync_directory(self._place)
        except OSError as error:
            raise StoreError(f"{self._path(key)} cannot be moved to {target}: {error.strerror}") from error
        return str(target)

    def stamps(self) -> dict[str, tuple[int, ...]] | None:
        try:
            status = self._place.stat()
            if self._seen == (status.st_mtime_ns, status.st_ino):
                return None
            with os.scandir(self._place) as entries:
                found = {entry.name: _stamp(entry) for entry in entries}
        except OSError as error:
            raise StoreError(f"{self._place} cannot be read: {error.strerror}") from error
        # A change within the same tick of the file system's clock as this look would go unnoticed: look again then.
        ticked = self._clock.now().timestamp() - status.st_mtime > 1
        self._seen = (status.st_mtime_ns, status.st_ino) if ticked else None
        return found

    def names(self) -> list[str]:
        try:
            if self._place is not self._root and not all(map(_is_directory, (self._private, self._place))):
                return []
            return os.listdir(self._place)  # noqa: PTH208 - 40,000 names
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = f"{self._place} cannot be read: {error.strerror}"
            raise StoreError(f"{reason}; {self._advice(error)}") from error

    def inside(self, place: str) -> "DirectoryStore":
        return DirectoryStore(self._root, clock=self._clock, place=place, only_looks=self._only_looks)

    def probe(self) -> None:
        try:
            self._prove()
        except StoreError as error:
            self.trouble = str(error)
            raise
        self.trouble = None

    def _prove(self) -> None:
        test = self._temporary / f"probe.{secrets.token_hex(6)}"
        try:
            self.make_directories()
            descriptor = os.open(test, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "r+b") as file:
                file.write(b"probe")
                file.flush()
                os.fsync(descriptor)
                file.seek(0)
                intact = file.read() == b"probe"
                self._clear_leftovers(os.fstat(descriptor).st_mtime)
            test.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                test.unlink()
            raise StoreError(
                f"the cache {self._root} is not writable: {error.strerror}; {self._advice(error)}"
            ) from error
        if not intact:
            raise StoreError(f"the cache {self._root} does not keep what is written: check the disk")

    def _opened(self, path: Path) -> int:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(path, flags)
        except PermissionError:  # of our own file: its mode is wrong
            if self._only_looks or not make_readable(path):
                raise
            return os.open(path, flags)

    def _tighten(self, path: Path, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # a read-only disk, or not ours
            os.fchmod(descriptor, 0o600)
        self._tightened += 1
        if self._tightened <= _MAX_WARNINGS:
            extra: dict[str, object] = {"file": path}
            if self._tightened == _MAX_WARNINGS:
                extra["then"] = "further files are not named"
            _log.warning("a private key could be read by others: its mode is 0600 now", extra=extra)

    def _clear_leftovers(self, now: float) -> None:
        for leftover in self._temporary.iterdir():
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours
                if leftover.lstat().st_mtime < now - _LEFTOVER_SECONDS:
                    leftover.unlink()

    def _advice(self, error: OSError) -> str:
        if isinstance(error, PermissionError):
            ours = (self._root, self._private, self._temporary, self._place)
            if (shut := next(filter(_is_shut, ours), None)) is not None:
                return f"its mode forbids it to its owner: chmod u+rwx {shut}"
            return f"run as its owner, or give it to this user: chown -R {os.geteuid()} {self._root}"
        if isinstance(error, NotADirectoryError | FileExistsError):
            return "set `cache` to a directory"
        return "free space or repair the disk, or set `cache` to another directory"

    def _path(self, key: str) -> Path:
        if not key or "/" in key or "\0" in key or key.startswith("."):
            raise StoreError(f"{key!r} is not a key")
        return self._place / key

    def make_directories(self) -> None:
        """Make the cache and what has to be in it, where it is not there. Raises OSError."""
        if not self._root.is_dir():
            self._root.mkdir(mode=0o700, parents=True)
        for one in {self._private: 0, self._temporary: 0, self._aside: 0, self._place: 0}:
            if one is not self._root and not _is_directory(one):
                self._make_directory(one)
        if stat.S_IMODE(self._root.stat().st_mode) & 0o077:
            with contextlib.suppress(PermissionError):  # not ours: its owner decides
                self._root.chmod(0o700)
                _log.warning("the cache could be read by others: its mode is 0700 now", extra={"directory": self._root})

    def _make_directory(self, path: Path) -> None:
        """Make a private directory; what lies in its place, a link even to a directory, makes way."""
        if path.is_symlink() or path.exists():
            moment = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
            aside = path.with_name(f"{path.name}.broken-{moment}-{secrets.token_hex(3)}")
            path.rename(aside)
            _log.error("no directory of ours lay here: moved aside", extra={"file": path, "now_at": aside})
        path.mkdir(mode=0o700, exist_ok=True)


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _is_shut(path: Path) -> bool:
    """Whether it is our own and its mode keeps us out: to give it to us would not help."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and status.st_mode & 0o700 != 0o700


def _stamp(entry: "os.DirEntry[str]") -> tuple[int, ...]:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # gone meanwhile
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unreadable(path: Path, error: OSError) -> StoreError:
    if error.errno == errno.ELOOP:
        return DamagedError(f"{path} is a symbolic link: links in the cache are not followed")
    kind = StoreError if error.errno in _PASSING else DamagedError
    return kind(f"{path} cannot be read: {error.strerror}")


def sync_directory(path: Path) -> None:
    """Make durable what was renamed, made or removed in a directory. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
