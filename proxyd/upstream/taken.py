"""What was written and is still on its way, and what of it the other side takes."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from typing import Final

#: tcpi_bytes_acked of struct tcp_info (linux/tcp.h).
_ACKED: Final = struct.Struct("=120xQ")
#: Where nobody counts what is taken, what is not taken counts down from here.
_MUCH: Final = 1 << 62


def unsent(transport: asyncio.Transport | None) -> int:
    """Return how many bytes the other side has not confirmed, those in the kernel too (SIOCOUTQ).

    uvloop's transport with TLS does not tell of what lies in the one below it: but then the kernel's is not empty.
    """
    if transport is None:
        return 0
    queued = bytes(4)
    if (sock := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError, ValueError):
            queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, queued)
    return transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)


def taken(transport: asyncio.Transport | None) -> int:
    """Return a count that grows as long as the other side takes something: of TCP, the bytes that it has confirmed.

    What is unsent would not do: a slow reader's queue is filled up again as it empties, and mostly looks the same.
    """
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError, struct.error):
            found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
            return int(_ACKED.unpack(found)[0])
    return _MUCH - unsent(transport)
