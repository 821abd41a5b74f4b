"""The way out should an advisory need one (`fast_path: false`): what the scanner accepted is read by aiohttp's server.

The scanner has seen the head, and our framing rules see the body; aiohttp reads both again, and gives the body.
Responses are written by the connection, whoever reads the request.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxyd.core.request_head import RequestHead
from proxyd.proxy.exchange import Downstream, Exchange, ExchangeHandler, RequestSink

if TYPE_CHECKING:
    from proxyd.frontend.h1_connection import H1Connection

_log = logging.getLogger("proxyd.h1")
#: aiohttp would write a traceback of whatever its parser refuses.
_SILENT = logging.Logger("aiohttp", logging.CRITICAL)
_LARGE = 1 << 20  # the scanner has its own limits


class AiohttpFront:
    """Makes the exchanges of requests that aiohttp reads; `handler` serves them."""

    def __init__(self, handler: ExchangeHandler) -> None:
        self._handle, self._refuse = handler.handle, handler.refuse
        self._exchanges: dict[web.RequestHandler, AiohttpExchange] = {}
        self._server = web.Server(
            self._serve,
            handler_cancellation=True,
            access_log=None,
            logger=_SILENT,
            auto_decompress=False,
            max_line_size=_LARGE,
            max_field_size=_LARGE,
            max_headers=_LARGE,
        )

    def take(self, connection: "H1Connection", head: bytes) -> "AiohttpExchange":
        """Begin to read the request with this head; its body follows by `feed`."""
        reader = self._server()
        exchange = self._exchanges[reader] = AiohttpExchange(connection, reader, self._over, self._refuse)
        reader.connection_made(_Lent(connection, exchange))
        reader.data_received(head)
        return exchange

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = self._exchanges.get(request.protocol)
        if exchange is not None:  # else the client has left, or was refused
            self._handle(exchange)
            await exchange.pump(request)
        return _Answered()

    def _over(self, reader: web.RequestHandler) -> None:
        self._exchanges.pop(reader, None)
        reader.connection_lost(None)


class AiohttpExchange:
    """Implements Exchange, and for the connection RequestSink: everything but the body passes straight through."""

    def __init__(
        self,
        connection: "H1Connection",
        reader: web.RequestHandler,
        over: Callable[[web.RequestHandler], None],
        refuse: Callable[[Exchange, int, str], None],
    ) -> None:
        self.trailers = b""  # aiohttp drops them
        self._connection = connection
        self._reader = reader
        self._over, self._refuse = over, refuse
        self._sink: RequestSink | None = None
        self._ended = asyncio.get_running_loop().create_future()
        self._wanted = asyncio.Event()
        self._wanted.set()

    @property
    def request(self) -> RequestHead:
        return self._connection.request

    @property
    def downstream(self) -> Downstream:
        return self._connection.downstream

    def feed(self, data: bytes) -> None:
        """Give bytes of the body as they are on the wire."""
        self._reader.data_received(data)

    async def pump(self, request: web.BaseRequest) -> None:
        """Give the body to the sink, and wait for the end of the response."""
        if not self.request.has_body or self._ended.done():
            await self._ended
            return
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(request))
            await self._ended
            reading.cancel()

    async def _read(self, request: web.BaseRequest) -> None:
        await self._wanted.wait()
        try:
            while data := await request.content.readany():
                if self._sink is not None:
                    self._sink.body(data)
                await self._wanted.wait()
        except (web.RequestPayloadError, ConnectionError):
            self.not_understood()
            return
        if self._sink is not None:
            self._sink.body_end(self.trailers)

    def not_understood(self) -> None:
        """Refuse what aiohttp does not read although the scanner took it."""
        if not self._ended.done():
            _log.debug("aiohttp's parser refused what the scanner took", extra={"client": self.downstream.client})
            self._connection.refuse(400, "aiohttp's parser does not take it")

    # Exchange

    def deliver(self, sink: RequestSink) -> None:
        self._sink = sink
        self._connection.deliver(self)

    def pause_body(self, paused: bool) -> None:
        if paused:
            self._wanted.clear()
        else:
            self._wanted.set()

    def expect(self, seconds: float) -> None:
        self._connection.expect(seconds)

    def interim(self, status: int, lines: bytes) -> None:
        self._connection.interim(status, lines)

    def start(self, status: int, reason: bytes, lines: bytes, body: int) -> None:
        self._connection.start(status, reason, lines, body)

    def switch(self, lines: bytes) -> None:
        raise AssertionError("what is plain asks for no other protocol")

    def write(self, data: bytes) -> None:
        self._connection.write(data)

    def finish(self, trailers: bytes = b"") -> None:
        self._end()
        self._connection.finish(trailers)

    def abort(self) -> None:
        self._end()
        self._connection.abort()

    def flush(self) -> None:
        self._connection.flush()

    # RequestSink

    def body(self, data: bytes) -> None:
        raise AssertionError("the body comes by aiohttp")

    def body_end(self, trailers: bytes) -> None:
        """Wait for aiohttp to say so."""

    def leave(self) -> bool:
        return False

    def abandoned(self) -> None:
        sink = self._sink
        self._end()
        if sink is not None:
            sink.abandoned()

    def refused(self, status: int, why: str) -> None:
        sink = self._sink
        self._end()
        if sink is not None:
            sink.refused(status, why)
        else:  # aiohttp has not read its head yet
            self._refuse(self._connection, status, why)

    def download_paused(self, paused: bool) -> None:
        if self._sink is not None:
            self._sink.download_paused(paused)

    def late(self) -> None:
        if self._sink is not None:
            self._sink.late()

    def _end(self) -> None:
        self._sink = None
        if not self._ended.done():
            self._ended.set_result(None)
            asyncio.get_running_loop().call_soon(self._over, self._reader)


class _Lent(asyncio.Transport):
    """What aiohttp sees of the connection: it may slow the client, and neither write nor close."""

    def __init__(self, connection: "H1Connection", exchange: AiohttpExchange) -> None:
        super().__init__()
        self._connection = connection
        self._exchange = exchange

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Before the end of the response aiohttp closes only when it cannot go on."""
        self._exchange.not_understood()

    def abort(self) -> None:
        self._exchange.not_understood()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Whatever aiohttp would say of itself, nobody asked for."""

    def pause_reading(self) -> None:
        self._connection.pause_body(True)

    def resume_reading(self) -> None:
        self._connection.pause_body(False)


class _Answered(web.StreamResponse):
    """Tells aiohttp that the response is on the wire already."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None
