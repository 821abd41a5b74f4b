"""What every connection of a listener has from its start."""

import asyncio
import contextlib
import fcntl
import socket

from proxyd.config.values import ListenAddress
from proxyd.frontend.listener import Listener, bind


async def test_little_of_a_response_waits_in_the_kernel() -> None:
    """Else a thousand clients that read nothing have all memory that the kernel gives to TCP."""
    [[sock]] = bind(ListenAddress("127.0.0.1", 0), key="listen")
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    listener = Listener(sock, accepted.put_nowait)
    listener.start()
    with socket.create_connection(("127.0.0.1", listener.port)), await accepted.get() as ours:
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 50_000_000:
                sent += ours.send(bytes(65_536))
                await asyncio.sleep(0)  # lets the kernel pass it on
        waiting = int.from_bytes(fcntl.ioctl(ours, 0x894B, bytes(4)), "little")  # SIOCOUTQNSD
        assert 0 < waiting <= 300_000
    listener.stop()
