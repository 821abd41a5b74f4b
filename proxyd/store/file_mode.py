"""The mode of a file of ours that somebody made unreadable."""

import logging
import os
import stat
from pathlib import Path

_log = logging.getLogger("proxyd.store")


def make_readable(path: Path) -> bool:
    """Give a regular file the mode 0600, and say so; false when it is none. Raises OSError when it is not ours."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        os.chmod(f"/proc/self/fd/{descriptor}", 0o600)  # noqa: PTH101 - the file itself, not what a link names
    finally:
        os.close(descriptor)
    _log.warning("a file of the cache could not be read: its mode is 0600 now", extra={"file": path})
    return True
