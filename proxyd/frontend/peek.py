"""A look at bytes that stay in the kernel (MSG_PEEK); SO_RCVLOWAT keeps a partial message from waking us per byte."""

import asyncio
import socket


async def peek(sock: socket.socket, need: int, *, most: int) -> bytes:
    """Return at least `need` bytes, or fewer at the end of the stream; bound the time from outside."""
    data = peek_now(sock, most=most)
    if data is not None and (len(data) >= need or not data):
        return data
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, need)
    loop.add_reader(sock, _resolve, readable)
    try:
        await readable
    finally:
        loop.remove_reader(sock)
        if sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    # Readable under the low-water mark means the end of the stream.
    return peek_now(sock, most=most) or b""


def peek_now(sock: socket.socket, *, most: int) -> bytes | None:
    """Return what is there, or None: nothing yet."""
    try:
        return sock.recv(most, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return None


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
