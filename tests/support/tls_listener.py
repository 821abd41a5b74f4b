"""Listeners for TLS connections on 127.0.0.1: ours, as the daemon builds it, and those of other programs."""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

from proxyd.config.values import ListenAddress
from proxyd.core.counters import Counters
from proxyd.core.fleet import Fleet
from proxyd.core.networks import NOBODY, Networks
from proxyd.daemon.system_clock import SystemClock
from proxyd.frontend.arrival import ArrivalGate
from proxyd.frontend.arriving import Arriving
from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.h2.frontend import H2Frontend
from proxyd.frontend.listener import Listener, bind, local_address_of
from proxyd.frontend.seats import Seats
from proxyd.frontend.tls_frontend import TlsFrontend
from proxyd.issuance.memory import Memory
from proxyd.issuance.on_demand import OnDemand
from proxyd.tls.certificate_table import CertificateTable
from proxyd.tls.challenge_table import ChallengeTable
from tests.support.handler import make_handler

Address = tuple[str, int]


@contextlib.asynccontextmanager
async def our_listener(
    table: CertificateTable, memory: Memory, *, balancers: Networks = NOBODY
) -> AsyncIterator[Address]:
    """Serve `table` as the daemon does."""
    clock = SystemClock()
    on_demand = OnDemand(
        fleet=Fleet(rng=random.Random(1), registered_domain=str),
        memory=memory,
        clock=clock,
        plans_for=lambda host: [],
        manage=lambda plans: None,
        is_served=lambda host: False,
        dropped=table.remove,
        not_our_turn=lambda: None,
    )
    h1 = H1Frontend(make_handler())

    async def cache_read(host: object) -> bool:
        return True

    async with asyncio.TaskGroup() as tasks:
        frontend = TlsFrontend(
            table=table,
            challenges=ChallengeTable(clock=clock, arrived=lambda *_: None),
            obtain=on_demand.wait,
            cache_read=cache_read,
            default_for=lambda *_: None,
            gate=ArrivalGate(balancers),
            seats=Seats(most=1000, most_each=0, counters=Counters()),
            h1=h1,
            h2=H2Frontend(make_handler()),
            counters=Counters(),
            arriving=Arriving(tasks),
        )
        ((sock,),) = bind(ListenAddress.parse("127.0.0.1:0"), key="test")
        listener = Listener(sock, frontend.accepted)
        listener.start()
        yield local_address_of(sock)
        listener.stop()
        await h1.drain(1)


@contextlib.asynccontextmanager
async def another_program(context: ssl.SSLContext) -> AsyncIterator[Address]:
    """Serve one context, whatever a client asks for."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()
    await asyncio.sleep(0)  # connections end in the loop's next round


@contextlib.contextmanager
def silence() -> Iterator[Address]:
    """Take connections and say nothing."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()
