"""Be an account without any rights, which reaches Python and this project all the same."""

import ctypes
import os
import sys
from pathlib import Path

from tests.support.daemon import ROOT

NOBODY = 65534
_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
_NEEDED = (Path(sys.base_prefix), Path(sys.prefix).resolve(), ROOT)


def become_nobody() -> None:
    """For good, where this process is root; else it has no rights already. For `prepare` of a daemon."""
    if os.getuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if closed := {one: found for one in _NEEDED if (found := _closed(one))}:
        assert libc.unshare(_CLONE_NEWNS) == 0
        _keep_to_ourselves(libc)
        opened = {one: os.open(one, os.O_PATH) for one in closed}
        for over in {*closed.values()}:
            _mount(libc, "none", str(over), "tmpfs", 0, b"mode=755")
        for one, descriptor in opened.items():
            os.makedirs(one, exist_ok=True)  # noqa: PTH103
            _mount(libc, f"/proc/self/fd/{descriptor}", str(one), "", _MS_BIND | _MS_REC)
            os.close(descriptor)
        os.chdir(ROOT)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _keep_to_ourselves(libc: ctypes.CDLL) -> None:
    """Nobody else shall see what is mounted from now on."""
    try:
        _mount(libc, "none", "/", "", _MS_REC | _MS_PRIVATE)
    except OSError:  # in a chroot "/" is no mount
        if " shared:" in Path("/proc/self/mountinfo").read_text():
            raise


def _closed(path: Path) -> Path | None:
    """Return the first directory on the way that is not for everybody."""
    way = (*reversed(path.parents), path)
    return next((one for one in way if not one.stat().st_mode & 0o001), None)


def _mount(libc: ctypes.CDLL, what: str, at: str, kind: str, flags: int, options: bytes = b"") -> None:
    if libc.mount(what.encode(), at.encode(), kind.encode(), flags, options):
        raise OSError(ctypes.get_errno(), f"mount {what} at {at}")
