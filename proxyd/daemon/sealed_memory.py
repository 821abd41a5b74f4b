"""Bytes as a file in memory that nobody can change any more (memfd_create(2), fcntl(2)): to be passed over a socket."""

import fcntl
import os
from typing import Final

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(name: str, content: bytes) -> int:
    """Return the descriptor of a sealed file with that content; `name` is what /proc shows. Raises OSError."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unsealed(descriptor: int) -> bytes:
    """Return what a sealed file has, and close it. Raises OSError when it is none."""
    with open(descriptor, "rb") as file:
        if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise OSError(0, "a message's payload is not sealed")
        file.seek(0)
        return file.read()
