"""The HTTP/1.1 connections of all clients: their limits, the sweep that looks at their times, the drain."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any

from proxyd.core.counters import Limit, Standing
from proxyd.core.hostname import Hostname
from proxyd.frontend.aiohttp_front import AiohttpFront
from proxyd.frontend.h1_connection import H1Connection
from proxyd.frontend.head_reader import HeadLimits
from proxyd.proxy.exchange import Downstream, ExchangeHandler
from proxyd.proxy.times import Times

_SWEEP_SECONDS = 1.0
_CUT_SECONDS = 1.0


class H1Frontend:
    """Makes connections that give their requests to the handler.

    `swept` is called about once a second while there are connections: for what others do in batches. `times` says how
    long a connection for a host, from a client's address, may take. `hit` is told each limit that a client met.
    """

    def __init__(
        self,
        handler: ExchangeHandler,
        *,
        swept: Callable[[], None] = lambda: None,
        limits: Callable[[], HeadLimits] = HeadLimits,
        fast_path: bool = True,
        times: Callable[[Hostname | None, str], Times] = lambda *_: Times(),
        hit: Callable[[Limit | None], None] = lambda _: None,
    ) -> None:
        self.handle, self.refuse = handler.handle, handler.refuse
        self.limits = limits
        self.hit = hit
        self.aiohttp = None if fast_path else AiohttpFront(handler)
        self.is_draining = self._is_closed = False
        self._swept = swept
        self._times = times
        self._connections: set[H1Connection] = set()
        self._empty = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.soon = self._loop.call_soon

    def connection(self, downstream: Downstream, *, left: Callable[[], None] = lambda: None) -> H1Connection:
        """Return the protocol of a new client connection; `left` is called when it was lost."""
        return H1Connection(self, downstream, self._times(downstream.host, downstream.client), left)

    def standing(self) -> Counter[Standing]:
        """Return how many connections do what."""
        return Counter(one.standing for one in self._connections)

    def begin_drain(self) -> None:
        """Close connections when they are idle; who has come and not asked yet may do so until `drain`."""
        self.is_draining = True
        for connection in [*self._connections]:
            connection.close_when_idle(is_new_too=False)

    async def drain(self, seconds: float) -> None:
        """Close idle connections, wait for the others, then end tunnels and cut what is left."""
        self.is_draining = self._is_closed = True
        for connection in [*self._connections]:
            connection.close_when_idle()
        await self._gone_within(seconds)
        for end in (_leave, H1Connection.abandon):
            for connection in [*self._connections]:
                end(connection)
            await self._gone_within(_CUT_SECONDS)
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._swept()

    def cut(self, keeps: Callable[[bytes, Downstream], bool]) -> None:
        """Cut what is under way for an authority on a connection that it may not go on on."""
        for connection in [*self._connections]:
            if (authority := connection.serves) is not None and not keeps(authority, connection.downstream):
                _leave(connection)

    def part(self, is_over: Callable[[Downstream], bool]) -> None:
        """Close connections whose handshake would be another one now, each when it is idle."""
        for connection in [*self._connections]:
            if is_over(connection.downstream):
                connection.close_when_idle()

    def leave(self, is_left: Callable[[tuple[Any, ...]], bool], *, at_once: bool) -> bool:
        """End connections that came to an address that is left, each when it is idle; return whether there are some."""
        left = [one for one in self._connections if (at := one.came_to) is not None and is_left(at)]
        for connection in left:
            if at_once:
                connection.abandon()
            else:
                connection.close_when_idle()
        return bool(left)

    def made(self, connection: H1Connection) -> None:
        """Count a connection from the end of its handshake: one that fails never loses it."""
        self._connections.add(connection)
        self._empty.clear()
        if self._is_closed:
            connection.close_when_idle()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def gone(self, connection: H1Connection) -> None:
        """Count it no longer."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def _gone_within(self, seconds: float) -> None:
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep) if self._connections else None
        now = monotonic()
        for late in [one for one in self._connections if one.deadline <= now or one.late_at <= now]:
            late.expired(now)
        self._swept()


def _leave(connection: H1Connection) -> None:
    tunnel = connection.tunnel
    if tunnel is None or not tunnel.leave():
        connection.abandon()
