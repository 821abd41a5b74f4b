"""The connections of all clients that speak one version of HTTP: the sweep that looks at their times, the drain."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from proxyd.core.counters import Standing
from proxyd.proxy.exchange import Downstream

_SWEEP_SECONDS = 1.0
_CUT_SECONDS = 1.0


class ClientConnection(Protocol):
    """One of them. `deadline`, `late_at`: moments at which `expired` is to be called."""

    @property
    def downstream(self) -> Downstream: ...
    @property
    def deadline(self) -> float: ...
    @property
    def late_at(self) -> float: ...
    @property
    def standing(self) -> Standing:
        """What operators are told that it does."""
        ...

    @property
    def came_to(self) -> tuple[Any, ...] | None:
        """The address of ours that the client reached."""
        ...

    def expired(self, now: float) -> None:
        """The client, or who serves it, did not do in time what it had to."""
        ...

    def close_when_idle(self, *, is_new_too: bool = True) -> None:
        """Serve what is under way, then close; who is new and has not asked yet may be let ask."""
        ...

    def cut(self, is_gone: Callable[[bytes], bool] | None = None) -> None:
        """Cut it, tunnels with last words; `is_gone`: only what is under way for such authorities."""
        ...

    def abandon(self) -> None:
        """Cut the connection."""
        ...


C = TypeVar("C", bound=ClientConnection)


class Connections(Generic[C]):
    """`swept` is called about once a second while there are connections: for what others do in batches."""

    def __init__(self, swept: Callable[[], None]) -> None:
        self.is_draining = self._is_closed = False
        self._swept = swept
        self._connections: set[C] = set()
        self._empty = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.soon = self._loop.call_soon

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
        for connection in [*self._connections]:
            connection.cut()
        await self._gone_within(_CUT_SECONDS)
        for connection in [*self._connections]:
            connection.abandon()
        await self._gone_within(_CUT_SECONDS)
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._swept()

    def cut(self, keeps: Callable[[bytes, Downstream], bool]) -> None:
        """Cut what is under way for an authority on a connection that it may not go on on."""
        for connection in [*self._connections]:
            connection.cut(partial(_is_over, keeps, connection.downstream))

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

    def made(self, connection: C) -> None:
        """Count a connection from the end of its handshake: one that fails never loses it."""
        self._connections.add(connection)
        self._empty.clear()
        if self._is_closed:
            connection.close_when_idle()
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def gone(self, connection: C) -> None:
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


def _is_over(keeps: Callable[[bytes, Downstream], bool], downstream: Downstream, authority: bytes) -> bool:
    return not keeps(authority, downstream)
