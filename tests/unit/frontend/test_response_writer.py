"""What goes out to a client is gathered, framed, and written at once; nothing is written to who is gone."""

import asyncio
import socket
from dataclasses import replace

import pytest

from proxyd.frontend.head_reader import UNREADABLE
from proxyd.frontend.response_writer import ResponseWriter


class Connection(ResponseWriter):
    """One that is open."""

    def __init__(self, version: int, *, framed: bool, transport: asyncio.Transport) -> None:
        super().__init__()
        self.request, self._framed, self._transport = replace(UNREADABLE, version=version), framed, transport


@pytest.mark.parametrize(
    ("version", "framed", "written"),
    [
        (11, True, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n5\r\nhello\r\n1\r\n!\r\n"),
        (11, False, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nhello!"),
        (10, False, b"hello!"),
    ],
)
async def test_it_is_gathered_until_the_flush(version: int, framed: bool, written: bytes) -> None:
    loop = asyncio.get_running_loop()
    ours, client = socket.socketpair()
    with client:
        client.setblocking(False)
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours)
        connection = Connection(version, framed=framed, transport=transport)
        connection.interim(103, b"\r\nLink: </a>")
        connection.write(b"hello")
        connection.write(b"!")
        with pytest.raises(BlockingIOError):
            client.recv(100)
        connection.flush()
        connection.flush()
        assert await loop.sock_recv(client, 100) == written
        transport.close()
        connection.write(b"too late")
        connection.flush()
        assert await loop.sock_recv(client, 100) == b""
