"""What a process gives up before it does anything: memory images, the reach of others into it, rights of root."""

import contextlib
import ctypes
import os
import resource
import struct
from collections.abc import Collection
from enum import IntEnum
from typing import Final

_PR_SET_DUMPABLE = 4
_VERSION_3 = 0x20080522  # capget(2): 64 bits, in two halves


class Right(IntEnum):
    """Capabilities that something here is done with (capabilities(7))."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    FOWNER = 3
    KILL = 5
    NET_BIND_SERVICE = 10


#: The cache and exported files may be another user's; programs of `on_renew` are killed when they hang.
_FILES: Final = frozenset({Right.CHOWN, Right.DAC_OVERRIDE, Right.DAC_READ_SEARCH, Right.FOWNER})
OF_DAEMON: Final = frozenset(Right)
OF_WORKER: Final = _FILES


#: Effective, permitted and inheritable: the lower halves of all three, then the upper ones.
_SETS = struct.Struct("=6I")


def give_up_memory_images() -> None:
    """Have the kernel write no memory of this process to disk, and no other process of this user look into it.

    The kernel keeps it so for what is forked, not for other programs that are started.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.umask(0o077)


def give_up_rights(kept: Collection[Right]) -> None:
    """Drop all capabilities but these, of this process; programs that root starts have root's again.

    Who has none loses none; where the service manager forbids the call, it has seen to that itself.
    """
    libc, header = _libc(), struct.pack("=Ii", _VERSION_3, 0)
    sets = ctypes.create_string_buffer(_SETS.size)
    if libc.capget(header, sets) == 0:
        mask = sum(1 << one for one in kept)
        low, high = mask & 0xFFFFFFFF, mask >> 32
        has = _SETS.unpack(sets.raw)
        wanted = (has[0] & low, has[1] & low, has[2], has[3] & high, has[4] & high, has[5])
        libc.capset(header, _SETS.pack(*wanted))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
