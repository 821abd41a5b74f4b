"""The HTTP/1.1 connections of all clients, and their limits."""

from collections.abc import Callable

from proxyd.core.counters import Limit
from proxyd.core.hostname import Hostname
from proxyd.frontend.aiohttp_front import AiohttpFront
from proxyd.frontend.connections import Connections
from proxyd.frontend.h1_connection import H1Connection
from proxyd.frontend.head_reader import HeadLimits
from proxyd.proxy.exchange import Downstream, ExchangeHandler
from proxyd.proxy.times import Times


class H1Frontend(Connections[H1Connection]):
    """Makes connections that give their requests to the handler.

    `times` says how long a connection for a host, from a client's address, may take. `hit` is told each limit that a
    client met.
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
        super().__init__(swept)
        self.handle, self.refuse = handler.handle, handler.refuse
        self.limits = limits
        self.hit = hit
        self.aiohttp = None if fast_path else AiohttpFront(handler)
        self._times = times

    def connection(self, downstream: Downstream, *, left: Callable[[], None] = lambda: None) -> H1Connection:
        """Return the protocol of a new client connection; `left` is called when it was lost."""
        return H1Connection(self, downstream, self._times(downstream.host, downstream.client), left)
