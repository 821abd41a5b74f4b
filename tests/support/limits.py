"""What a machine refuses a process: files, space, descriptors."""

import ctypes
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.daemon import DaemonProcess
from tests.support.processes import children

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


def without_privilege() -> None:
    """Run in a daemon's process before it: root obeys the modes of files then."""
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def limit(daemon: DaemonProcess, which: int, value: int | None) -> None:
    """Limit all processes of a running daemon (resource.RLIMIT_...); None: as at first."""
    assert daemon.process is not None
    for pid in (daemon.process.pid, *children(daemon)):
        _, hard = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (hard if value is None else value, hard))


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """Refuse this process every byte in a file, as a full disk does (EFBIG instead of ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
