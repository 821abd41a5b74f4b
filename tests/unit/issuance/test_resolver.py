"""A stop must not be lost in a look-up: what swallows a cancellation keeps the daemon from ending."""

import asyncio
from typing import Any, cast

import dns.message
import pytest

from proxyd.config.values import DnsServerAddress
from proxyd.core.hostname import Hostname
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.resolver import Resolver


class Server(asyncio.DatagramProtocol):
    """Answers every query with nothing, and cancels `task` so many turns of the loop later."""

    def __init__(self, turns: int) -> None:
        self.task: asyncio.Task[object] | None = None
        self._turns = turns
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._transport.sendto(dns.message.make_response(dns.message.from_wire(data)).to_wire(), addr)
        self._later(self._turns)

    def _later(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._later, turns - 1)
        elif self.task is not None:
            self.task.cancel()


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancellation_that_comes_with_the_answer_counts(turns: int) -> None:
    server = Server(turns)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, ("127.0.0.1", 0))
    address, port = transport.get_extra_info("sockname")
    resolver = Resolver(clock=SystemClock())
    resolver.servers = [DnsServerAddress(address, port)]

    async def watch() -> None:
        while True:
            await resolver.addresses(Hostname("www.example.test"))
            await asyncio.sleep(60)

    server.task = asyncio.create_task(watch())
    try:
        await asyncio.wait([server.task], timeout=5)
        assert server.task.cancelled()
    finally:
        transport.close()
        server.task.cancel()
