"""Disks that take nothing any more: real ones, in a mount namespace of their own, and one that the modes close."""

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

from tests.support.daemon import eventually
from tests.support.limits import without_privilege

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_BALLAST = "ballast"


class Disk(Protocol):
    """Where a daemon's cache is."""

    #: The cache as the test sees it.
    cache: Path

    def prepare(self) -> None:
        """Run in the daemon's process before it."""

    def fill(self) -> None: ...

    def free(self) -> None: ...


class ClosedDisk:
    """Nothing new is let in: to who writes without privilege, the same as a disk that is read-only."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def prepare(self) -> None:
        without_privilege()

    def fill(self) -> None:
        self._set_modes(0o500)

    def free(self) -> None:
        self._set_modes(0o700)

    def _set_modes(self, mode: int) -> None:
        for one in (self.cache, *(one for one in self.cache.rglob("*") if one.is_dir())):
            one.chmod(mode)


class TinyDisk:
    """A file system in memory over `cache`, which only those see who `prepare` for it; gone with the `holder`."""

    def __init__(self, cache: Path, holder: "subprocess.Popen[bytes]") -> None:
        self._cache = cache
        self._holder = holder
        self.cache = Path(f"/proc/{holder.pid}/root{cache}")

    def prepare(self) -> None:
        libc, here = ctypes.CDLL(None, use_errno=True), Path.cwd()
        root = os.open(f"/proc/{self._holder.pid}/root", os.O_RDONLY | os.O_DIRECTORY)
        for name, kind in (("user", _CLONE_NEWUSER), ("mnt", _CLONE_NEWNS)):
            if kind == _CLONE_NEWUSER and os.geteuid() == 0:
                continue
            namespace = os.open(f"/proc/{self._holder.pid}/ns/{name}", os.O_RDONLY)
            if libc.setns(namespace, kind) != 0:
                raise OSError(ctypes.get_errno(), f"setns {name}")
            os.close(namespace)
        os.fchdir(root)  # a namespace entered begins at its own root, which is not ours inside a chroot
        os.chroot(".")
        os.close(root)
        os.chdir(here)

    def fill(self) -> None:
        """Leave no block free while the journal is at rest: what it deletes then makes no room."""
        wal = self.cache / "+proxyd" / "journal.sqlite3-wal"

        def is_full_at_rest() -> bool:
            self.free()
            with (self.cache / _BALLAST).open("wb", buffering=0) as file:
                while _takes(file):
                    pass
            return not wal.exists()

        eventually(is_full_at_rest)

    def free(self) -> None:
        (self.cache / _BALLAST).unlink(missing_ok=True)

    def break_file(self, name: str) -> None:
        """Let every read and write of a file fail with EIO: so does a process's memory where nothing is mapped."""
        self._run("mount", "--bind", f"/proc/{self._holder.pid}/mem", str(self._cache / name))

    def mend_file(self, name: str) -> None:
        self._run("umount", str(self._cache / name))

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, preexec_fn=self.prepare)


def _takes(file: FileIO) -> bool:
    try:
        return file.write(bytes(512)) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


@contextmanager
def tiny_disk(cache: Path, *, kib: int) -> Iterator[TinyDisk]:
    cache.mkdir(parents=True, exist_ok=True)
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    # The root of a chroot is no mount, so it can only be made private by those who made it. Whose memory `break_file`
    # shows has no rights: a daemon that has few may not open that of one that has more.
    script = (
        'mount --make-rprivate / || true; mount -t tmpfs -o "size=$1k,mode=0700" none "$2" && echo ready '
        "&& exec setpriv --bounding-set=-all --inh-caps=-all cat"
    )
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "unchanged", *user, "sh", "-c", script, "sh", str(kib), str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield TinyDisk(cache, holder)
        holder.stdin.close()
