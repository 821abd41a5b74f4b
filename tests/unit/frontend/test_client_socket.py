"""A socket of a client: who takes nothing is cut off, who is slow is not; it is read as long as that is wanted."""

import asyncio
import socket
from typing import cast

from proxyd.core.counters import Limit
from proxyd.frontend.client_socket import ClientSocket


class _Connection(ClientSocket, asyncio.Protocol):
    __slots__ = ("got",)

    def __init__(self) -> None:
        super().__init__()
        self.deadline = 0.0
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.got += data

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def read(self, wanted: bool) -> None:
        self._read(wanted)

    def is_cut_at(self, now: float) -> list[Limit | None]:
        hits: list[Limit | None] = []
        self._cut_unless_slow(now, 5.0, hits.append)
        return hits

    @property
    def is_cut(self) -> bool:
        return self._transport is None or self._transport.is_closing()


async def _open() -> tuple[_Connection, socket.socket]:
    ours, client = socket.socketpair()
    client.setblocking(False)
    _, connection = await asyncio.get_running_loop().connect_accepted_socket(_Connection, ours)
    return connection, client


async def test_it_is_read_as_long_as_that_is_wanted() -> None:
    connection, client = await _open()
    with client:
        connection.read(False)
        client.send(b"early")
        await asyncio.sleep(0.05)
        assert connection.got == b""
        connection.read(True)
        await asyncio.sleep(0.2)
        assert connection.got == b"early"
        connection.abandon()


async def test_who_is_slow_goes_on_and_who_takes_nothing_is_cut_off() -> None:
    connection, client = await _open()
    with client:
        connection.write(bytes(4 << 20))
        assert connection.is_cut_at(10.0) == []
        assert connection.deadline == 15.0
        client.recv(1 << 20)
        await asyncio.sleep(0.05)
        assert connection.is_cut_at(15.0) == []
        assert not connection.is_cut
        assert connection.is_cut_at(20.0) == ["idle_timeout"]
        assert connection.is_cut
