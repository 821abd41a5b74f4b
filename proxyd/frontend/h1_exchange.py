"""An HTTP/1.1 request that aiohttp parsed, as an Exchange."""

import asyncio

from aiohttp import web
from aiohttp.http import HttpVersion11

from proxyd.core.header_rules import Field
from proxyd.proxy.exchange import Downstream, RequestHead, RequestSink

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class H1Exchange:
    """Implements Exchange. `pump` moves the request's body and ends when the response is complete."""

    def __init__(
        self, request: web.BaseRequest, transport: asyncio.Transport, downstream: Downstream, *, closing: bool
    ) -> None:
        self.downstream = downstream
        self.request = _head(request)
        self.keep_alive = request.keep_alive and not closing
        self._aiohttp = request
        self._transport = transport
        self._sink: RequestSink | None = None
        self._out: list[bytes] = []
        self._chunked = False
        self._bodyless = False
        self._paused = False
        self._finished = asyncio.get_running_loop().create_future()
        self._reading = asyncio.Event()
        self._reading.set()

    def deliver(self, sink: RequestSink) -> None:
        self._sink = sink
        if self._paused:
            sink.download_paused(True)

    def pause_body(self, paused: bool) -> None:
        if paused:
            self._reading.clear()
        else:
            self._reading.set()

    def start(self, status: int, reason: bytes, fields: list[Field], length: int | None) -> None:
        self._bodyless = self.request.method == "HEAD" or status in (204, 304)
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, reason), *(b"%b: %b\r\n" % field for field in fields)]
        if length is not None:
            lines.append(b"Content-Length: %d\r\n" % length)
        elif not self._bodyless and self.request.version == "1.1":
            self._chunked = True
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif not self._bodyless:
            self.keep_alive = False
        if not self._aiohttp.content.is_eof():  # an answer before the end of the body: what follows is not a request
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"Connection: close\r\n")
        elif self.request.version == "1.0":
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._out.append(b"".join(lines))

    def write(self, data: bytes) -> None:
        if self._bodyless:
            return
        if self._chunked:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._out.append(data)

    def finish(self) -> None:
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self.flush()
        if not self._finished.done():
            self._finished.set_result(None)

    def abort(self) -> None:
        self.keep_alive = False
        self._out.clear()
        self._transport.abort()
        if not self._finished.done():
            self._finished.set_result(None)

    def flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def download_paused(self, paused: bool) -> None:
        """Pass on that the client takes no more bytes, or does again."""
        self._paused = paused
        if self._sink is not None:
            self._sink.download_paused(paused)

    def abandon(self) -> None:
        """Let the sink go; tell it when the client left before the end."""
        sink, self._sink = self._sink, None  # it holds us too: without a cycle all memory is given back at once
        if not self._finished.done():
            self._finished.set_result(None)
            if sink is not None:
                sink.abandoned()

    async def pump(self) -> None:
        """Give the body to the sink and wait for the end of the response. Cancelled when the client leaves."""
        if not self.request.has_body or self._finished.done():
            await self._finished
            return
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(self._read_body())
            await self._finished
            reader.cancel()

    async def _read_body(self) -> None:
        await self._reading.wait()
        if any(name.lower() == b"expect" and value.lower() == b"100-continue" for name, value in self.request.fields):
            self._transport.write(_CONTINUE)
        content = self._aiohttp.content
        try:
            while data := await content.readany():
                if self._sink is not None:
                    self._sink.body(data)
                await self._reading.wait()
        except (web.RequestPayloadError, ConnectionError):
            # A body that ends early must not look complete to the upstream.
            self.abandon()
            self._transport.abort()
            return
        if self._sink is not None:
            self._sink.body_end()


def _head(request: web.BaseRequest) -> RequestHead:
    length = request.content_length
    return RequestHead(
        method=request.method,
        target=request.raw_path.encode("utf-8", "surrogateescape"),
        fields=tuple(request.raw_headers),
        has_body=request.can_read_body,
        length=length,
        version="1.1" if request.version >= HttpVersion11 else "1.0",
    )
