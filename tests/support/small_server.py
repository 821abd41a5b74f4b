"""A small HTTP server over TCP, TLS or a unix socket, in this event loop or in a thread: it counts what comes."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast


class SmallServer:
    """Answers each request with `status`, and its `name` as the body; `hangs`: not at all. `heads`: what was asked."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.status = 200
        self.lines = ""
        self.hangs = False
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.loop = asyncio.get_running_loop()
        self.open: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self) -> bytes:
        head = f"HTTP/1.1 {self.status} Said\r\n{self.lines}Content-Length: {len(self.name)}\r\n\r\n"
        return (head + self.name).encode()

    def cut(self) -> None:
        """Cut all connections, from whatever thread."""
        for transport in [*self.open]:
            self.loop.call_soon_threadsafe(transport.abort)


class _Connection(asyncio.Protocol):
    def __init__(self, server: SmallServer) -> None:
        self._server = server
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections += 1
        self._server.open.add(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        *heads, self._data = (self._data + data).split(b"\r\n\r\n")
        self._server.heads += heads
        if not self._server.hangs:
            self._transport.write(self._server.answer() * len(heads))

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        self._server.open.discard(self._transport)


@contextlib.asynccontextmanager
async def small_server(
    name: str = "",
    *,
    tls: ssl.SSLContext | None = None,
    path: Path | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[SmallServer]:
    """Serve on a port of this machine, or at `path`; at the end connections are cut."""
    one, loop = SmallServer(name), asyncio.get_running_loop()
    if path is not None:
        server = await loop.create_unix_server(lambda: _Connection(one), path)
    else:
        server = await loop.create_server(lambda: _Connection(one), address, port, ssl=tls)
        one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await accepted()
        one.cut()
        while one.open:  # noqa: ASYNC110 - they end in the loop's next rounds
            await asyncio.sleep(0)


async def accepted() -> None:
    """Wait until all is a connection that a closed server has accepted: its socket would outlive the loop."""
    while any("_accept_connection" in repr(one.get_coro()) for one in asyncio.all_tasks()):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)


@contextlib.contextmanager
def threaded_server(name: str = "", **more: Any) -> Iterator[SmallServer]:
    """Serve from a thread, for a daemon in a process of its own."""
    loop, begun, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    made: list[SmallServer] = []

    async def serve() -> None:
        async with small_server(name, **more) as server:
            made.append(server)
            begun.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            begun.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
