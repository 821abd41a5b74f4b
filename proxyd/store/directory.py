"""A directory as a store, readable by autocert's DirCache: one file a key, mode 0600, directory 0700."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from proxyd.core.clock import Clock
from proxyd.store.store import StoreError

#: Everything that is not a certificate or account key; '+' occurs in no host name.
PRIVATE = "+proxyd"
_MAX_BYTES = 1 << 20


class DirectoryStore:
    """Implements Store. Temporary and broken files live in a subdirectory, so none is ever taken for a certificate."""

    def __init__(self, root: Path, *, clock: Clock, place: str | None = None) -> None:
        self._root = root
        self._place = root if place is None else root / PRIVATE / place
        self._clock = clock
        self._temporary = root / PRIVATE / "tmp"
        self._aside = root / PRIVATE / "aside"
        self._writing: set[Path] = set()  # by other threads of this process

    def load(self, key: str) -> bytes | None:
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StoreError(f"{path} is not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)
        if len(content) > _MAX_BYTES:
            raise StoreError(f"{path} is over {_MAX_BYTES} bytes")
        return content

    def save(self, key: str, content: bytes) -> None:
        path = self._path(key)
        temporary = self._temporary / f"{key}.{secrets.token_hex(6)}"
        self._writing.add(temporary)
        try:
            self._make_directories()
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
            _sync_directory(self._place)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StoreError(f"{path} cannot be written: {error.strerror}; {self._advice(error)}") from error
        finally:
            self._writing.discard(temporary)

    def remove(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self._path(key)} cannot be deleted: {error.strerror}") from error

    def names(self) -> list[str]:
        try:
            return [one.name for one in self._place.iterdir()] if self._place.is_dir() else []
        except OSError as error:
            raise StoreError(f"{self._place} cannot be read: {error.strerror}") from error

    def inside(self, place: str) -> "DirectoryStore":
        return DirectoryStore(self._root, clock=self._clock, place=place)

    def set_aside(self, key: str) -> str:
        moment = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
        target = self._aside / f"{key}.{moment}.{secrets.token_hex(3)}"
        try:
            self._make_directories()
            self._path(key).rename(target)
            _sync_directory(self._root)
        except OSError as error:
            raise StoreError(f"{self._path(key)} cannot be moved to {target}: {error.strerror}") from error
        return str(target)

    def probe(self) -> None:
        test = self._temporary / f"probe.{secrets.token_hex(6)}"
        self._writing.add(test)
        try:
            self._make_directories()
            for leftover in self._temporary.iterdir():  # of a process that was killed while it wrote
                if leftover not in self._writing:
                    leftover.unlink(missing_ok=True)
            descriptor = os.open(test, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "r+b") as file:
                file.write(b"probe")
                file.flush()
                os.fsync(descriptor)
                file.seek(0)
                intact = file.read() == b"probe"
            test.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                test.unlink()
            raise StoreError(
                f"the cache {self._root} is not writable: {error.strerror}; {self._advice(error)}"
            ) from error
        finally:
            self._writing.discard(test)
        if not intact:
            raise StoreError(f"the cache {self._root} does not keep what is written: check the disk")

    def _advice(self, error: OSError) -> str:
        if isinstance(error, PermissionError):
            return f"run as its owner, or give it to this user: chown -R {os.geteuid()} {self._root}"
        if isinstance(error, NotADirectoryError | FileExistsError):
            return "set `cache` to a directory"
        return "free space or repair the disk, or set `cache` to another directory"

    def _path(self, key: str) -> Path:
        if not key or "/" in key or "\0" in key or key.startswith("."):
            raise StoreError(f"{key!r} is not a key")
        return self._place / key

    def _make_directories(self) -> None:
        if not self._root.is_dir():
            self._root.mkdir(mode=0o700, parents=True)
        for one in (self._root / PRIVATE, self._temporary, self._aside, self._place):
            if not one.is_dir():
                one.mkdir(mode=0o700, exist_ok=True)
        if stat.S_IMODE(self._root.stat().st_mode) & 0o077:
            self._root.chmod(0o700)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
