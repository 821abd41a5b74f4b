"""What was written and is still on its way: as long as it changes, the other side takes something."""

import asyncio
import contextlib
import fcntl
import sys
import termios


def unsent(transport: asyncio.Transport | None) -> int:
    """Return how many bytes the other side has not confirmed, those in the kernel too (SIOCOUTQ).

    The transport's own buffer alone may stay as it is for minutes while a slow reader takes megabytes from the kernel,
    and uvloop's with TLS does not tell of what lies in the one below it: but then the kernel's is not empty either.
    """
    if transport is None:
        return 0
    queued = bytes(4)
    if (sock := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError, ValueError):
            queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, queued)
    return transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)
