"""The HTTP/2 connections of all clients, and their limits."""

from collections.abc import Callable
from time import monotonic

from proxyd.config.http2_limits import Http2Limits
from proxyd.core.counters import Limit
from proxyd.core.hostname import Hostname
from proxyd.frontend.connections import Connections
from proxyd.frontend.h2.connection import H2Connection
from proxyd.frontend.h2.engine import Engine
from proxyd.frontend.h2.hpack_encoder import HpackEncoder
from proxyd.frontend.head_reader import HeadLimits
from proxyd.proxy.exchange import Downstream, ExchangeHandler
from proxyd.proxy.times import Times


class H2Frontend(Connections[H2Connection]):
    """Makes connections that give their requests to the handler.

    `times` says how long a connection for a host, from a client's address, may take. `hit` is told each limit that a
    client met. `is_crowd`: behind an address are many clients, as behind that of a trusted proxy.
    """

    def __init__(
        self,
        handler: ExchangeHandler,
        *,
        swept: Callable[[], None] = lambda: None,
        limits: Callable[[], Http2Limits] = Http2Limits,
        heads: Callable[[], HeadLimits] = HeadLimits,
        times: Callable[[Hostname | None, str], Times] = lambda *_: Times(),
        hit: Callable[[Limit | None], None] = lambda _: None,
        is_crowd: Callable[[str], bool] = lambda _: False,
    ) -> None:
        super().__init__(swept)
        self.hit = hit
        self._handler = handler
        self._limits = limits
        self._heads = heads
        self._times = times
        self._is_crowd = is_crowd
        self._encoder = HpackEncoder()

    def connection(self, downstream: Downstream, *, left: Callable[[], None] = lambda: None) -> H2Connection:
        """Return the protocol of a new client connection; `left` is called when it was lost."""
        return H2Connection(self, downstream, self._times(downstream.host, downstream.client), left)

    def part(self, is_over: Callable[[Downstream], bool]) -> None:
        """Do the same as the others after a reload, by which a peer may also have become a trusted proxy."""
        super().part(is_over)
        for connection in self._connections:
            connection.look_who_asks(self._is_crowd)

    def engine(self, downstream: Downstream, times: Times, wake: Callable[[], object]) -> Engine:
        """Return what speaks HTTP/2 with a client; `wake` is called when it has something to send."""
        return Engine(
            downstream,
            handler=self._handler,
            encoder=self._encoder,
            limits=self._limits(),
            heads=self._heads(),
            times=times,
            wake=wake,
            hit=self.hit,
            now=monotonic,
            each_own=self._is_crowd(downstream.peer),
        )
