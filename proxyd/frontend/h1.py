"""HTTP/1.1 from clients by aiohttp's server: its parser, its keep-alive; responses are written straight through."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import cast

from aiohttp import web

from proxyd.frontend.h1_exchange import H1Exchange
from proxyd.proxy.exchange import Downstream, Exchange

_KEEPALIVE_SECONDS = 75.0
_HEAD_BYTES = 16_384
_HEAD_FIELDS = 100
_SWEEP_SECONDS = 1.0
_quiet = logging.getLogger("proxyd.h1")


class H1Frontend:
    """Makes connections that turn requests into exchanges and give them to `handle`."""

    def __init__(self, handle: Callable[[Exchange], None], *, header_seconds: float = 30.0) -> None:
        self._handle = handle
        self._header_seconds = header_seconds
        self._connections: dict[web.RequestHandler, H1Connection] = {}
        self._empty = asyncio.Event()
        self._draining = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._server = web.Server(
            self._serve,
            handler_cancellation=True,
            access_log=None,
            logger=_quiet,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            max_line_size=8192,
            max_field_size=_HEAD_BYTES,
            max_headers=_HEAD_FIELDS,
            auto_decompress=False,
            lingering_time=2.0,
        )

    def connection(self, downstream: Downstream) -> "H1Connection":
        """Return the protocol of a new client connection."""
        return H1Connection(self._server(), downstream, made=self._made, gone=self._gone)

    async def drain(self, seconds: float) -> None:
        """Close idle connections, wait for the others, then cut them."""
        self._draining = True
        for connection in list(self._connections.values()):
            connection.close_when_idle()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._server.shutdown(0.1)

    def _made(self, inner: web.RequestHandler, connection: "H1Connection") -> None:
        """Count from the end of the handshake: one that fails never loses its connection."""
        self._connections[inner] = connection
        self._empty.clear()
        if self._draining:
            connection.close_when_idle()
        elif self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def _gone(self, inner: web.RequestHandler) -> None:
        self._connections.pop(inner, None)
        if not self._connections:
            self._empty.set()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._connections.get(request.protocol)
        transport = request.transport
        if connection is None or transport is None:
            raise ConnectionResetError("the client left")
        exchange = H1Exchange(request, transport, connection.downstream, closing=connection.closing)
        connection.exchange = exchange
        connection.head_began = None  # the head is here: from now on other limits count
        if connection.paused:  # by the end of the response before this one
            exchange.download_paused(True)
        try:
            self._handle(exchange)
            await exchange.pump()
        finally:
            connection.exchange = None
            connection.head_began = None
            exchange.abandon()
        return _Answered(keep_alive=exchange.keep_alive)

    def _sweep(self) -> None:
        """Close connections whose request head does not come (aiohttp has no such limit): one timer for all."""
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._connections else None
        limit = loop.time() - self._header_seconds
        for connection in list(self._connections.values()):
            if connection.head_began is not None and connection.head_began < limit:
                connection.abort()


class H1Connection(asyncio.Protocol):
    """Stands between the transport and aiohttp's protocol: adds who the client is, flow control and the head timer."""

    def __init__(
        self,
        inner: web.RequestHandler,
        downstream: Downstream,
        *,
        made: "Callable[[web.RequestHandler, H1Connection], None]",
        gone: Callable[[web.RequestHandler], None],
    ) -> None:
        self.downstream = downstream
        self.exchange: H1Exchange | None = None
        self.head_began: float | None = None
        self.closing = False
        self.paused = False
        self._inner = inner
        self._made = made
        self._gone = gone
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self.head_began = asyncio.get_running_loop().time()
        self._inner.connection_made(transport)
        self._made(self._inner, self)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None and self.head_began is None:
            self.head_began = asyncio.get_running_loop().time()
        self._inner.data_received(data)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._gone(self._inner)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.paused = True
        self._inner.pause_writing()
        if self.exchange is not None:
            self.exchange.download_paused(True)

    def resume_writing(self) -> None:
        self.paused = False
        self._inner.resume_writing()
        if self.exchange is not None:
            self.exchange.download_paused(False)

    def close_when_idle(self) -> None:
        """Serve what is under way, then close."""
        self.closing = True
        if self.exchange is not None:
            self.exchange.keep_alive = False
        elif self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


class _Answered(web.StreamResponse):
    """Tells aiohttp that the response is on the wire already."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._lasting = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._lasting

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None
