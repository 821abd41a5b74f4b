"""What a machine refuses a process: files, space, descriptors."""

import ctypes
import resource

from tests.support.daemon import DaemonProcess

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


def without_privilege() -> None:
    """Run in a daemon's process before it: root obeys the modes of files then."""
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def limit(daemon: DaemonProcess, which: int, value: int | None) -> None:
    """Limit a running daemon (resource.RLIMIT_...); None: as at first."""
    assert daemon.process is not None
    pid = daemon.process.pid
    _, hard = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (hard if value is None else value, hard))
