"""The awaitable step before TLS: look at the ClientHello without taking it, and choose the final context.

The bytes stay in the kernel, so OpenSSL sees an untouched stream.
"""

import asyncio
import contextlib
import socket

from proxyd.core.client_hello import MAX_BYTES, ClientHello, NeedMore, NotClientHello, parse
from proxyd.frontend.peek import peek, peek_now

_USUAL_BYTES = 2048
_MOST_READS = 16
#: A fatal alert record (RFC 8446 §6): plain text, as it is before any key is agreed on.
_ALERT = b"\x15\x03\x03\x00\x02\x02"
#: RFC 8446 §6. That a name is not served (RFC 6066 §3), or may be later: the client shall not take it for unknown.
UNRECOGNIZED_NAME, INTERNAL_ERROR = b"\x70", b"\x50"
#: That this was no hello; that we speak none of the protocols that the client does (RFC 7301 §3.2).
UNEXPECTED_MESSAGE, NO_APPLICATION_PROTOCOL = b"\x0a", b"\x78"


async def peek_client_hello(sock: socket.socket, *, seconds: float) -> ClientHello | None:
    """Return the hello, or None when the bytes are none.

    Raises TimeoutError, ConnectionError when the client left before its hello was complete.
    """
    try:
        # Not with room for the longest: 64 KiB, freed at once, leave a page of memory with every connection.
        found = parse(peek_now(sock, most=_USUAL_BYTES) or b"")
        if isinstance(found, NeedMore):  # seldom: a client that was accepted has mostly sent it
            async with asyncio.timeout(seconds):
                while isinstance(found, NeedMore):
                    data = await peek(sock, found.total, most=max(found.total, _USUAL_BYTES))
                    if len(data) < found.total:
                        raise ConnectionResetError("the client left during its ClientHello")
                    found = parse(data)
    except NotClientHello:
        return None
    return found


async def say_last(sock: socket.socket, data: bytes, *, seconds: float) -> None:
    """Send the last of a connection, and close it when the client has taken that, or its time is over."""
    with contextlib.suppress(OSError, TimeoutError), sock:
        sock.send(data)
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(seconds):  # closing with unread bytes would send a reset that overtakes the alert
            for _ in range(_MOST_READS):
                if not await asyncio.get_running_loop().sock_recv(sock, MAX_BYTES):
                    break


def refuse(sock: socket.socket, alert: bytes) -> None:
    """Close with the alert that says why. No TLS state is made for it."""
    with contextlib.suppress(OSError), sock:
        sock.recv(MAX_BYTES)  # closing with unread bytes would send a reset that overtakes the alert
        sock.send(_ALERT + alert)
        sock.shutdown(socket.SHUT_WR)
