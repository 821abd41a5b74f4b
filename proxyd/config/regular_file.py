"""What a person named as a file, and may be something that has to be waited for."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(file: Path) -> BufferedReader:
    """Return a file, to be read. Blocks as disks do, never at a pipe. Raises OSError, also for what is no file."""
    opened = open(file, "rb", opener=_without_waiting)  # noqa: SIM115 - a Path takes no opener
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, "it is no file")
    return opened


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
