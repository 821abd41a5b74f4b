"""Thousands of clients in one event loop, and an upstream that is not hard to fill."""

import asyncio
import contextlib
import queue
import resource
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator

from tests.support.small_server import accepted

_AT_ONCE = 50
#: More than what all buffers on its way hold.
LARGE = 8_000_000
_PART = bytes(64_000)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


class Crowd:
    """Clients of `host` at a port of this machine, all there until it is left."""

    def __init__(self, port: int, host: str, context: ssl.SSLContext) -> None:
        self._port, self._host, self._context = port, host, context
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Crowd":
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.5)  # each takes several rounds of the loop to be gone

    async def gather(self, count: int, begin: "Callable[[Member], Awaitable[None]]") -> "list[Member]":
        """Have so many begin, some at a time; return them when all have."""

        async def one() -> Member:
            async with self._turn:
                member = await self._member()
                await begin(member)
                return member

        async with asyncio.TaskGroup() as tasks:
            begun = [tasks.create_task(one()) for _ in range(count)]
        return [one.result() for one in begun]

    async def _member(self) -> "Member":
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        self._writers.append(writer)
        return Member(reader, writer, self._host, self._context)


class Member:
    """One client."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, context: ssl.SSLContext
    ) -> None:
        self._reader, self._writer = reader, writer
        self._host, self._context = host, context

    async def half_a_hello(self) -> None:
        """Begin a handshake."""
        self._writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20))

    async def is_let(self) -> None:
        """It is not cut off at once."""
        assert not self._reader.at_eof()

    async def ask_for_little(self) -> None:
        """Make the connection and have its first answer."""
        await self._writer.start_tls(self._context, server_hostname=self._host)
        await self.is_answered()

    async def is_answered(self) -> None:
        """Ask once more."""
        self._ask(b"/")
        assert (await self._reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")

    async def ask_for_much(self) -> None:
        """Make the connection and have the begin of a large answer."""
        await self._writer.start_tls(self._context, server_hostname=self._host)
        self._ask(b"/large")
        assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    async def read_a_little(self) -> None:
        """Take some of it: it is not over yet."""
        assert await self._reader.read(1000)

    def _ask(self, target: bytes) -> None:
        self._writer.write(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, self._host.encode()))


@contextlib.contextmanager
def patient_upstream() -> Iterator[int]:
    """Serve small answers, and `/large` ones, to thousands; return the port."""
    ports: queue.Queue[int] = queue.Queue()
    stops: list[Callable[[], object]] = []

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        answers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answers[loop.create_task(_answer(reader, writer))] = writer

        server = await asyncio.start_server(came, "127.0.0.1", 0, backlog=1024)
        # A thousand answers that are not read else fill all memory that the kernel has for TCP: it then resets
        # connections that were closed, those of other tests too.
        server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        stops.append(lambda: loop.call_soon_threadsafe(over.set))
        ports.put(server.sockets[0].getsockname()[1])
        await over.wait()
        server.close()
        await accepted()
        for writer in answers.values():
            writer.transport.abort()
        await asyncio.gather(*answers, *(one.wait_closed() for one in answers.values()), return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(serve(), debug=False))
    thread.start()
    port = ports.get(timeout=10)
    try:
        yield port
    finally:
        stops[0]()
        thread.join()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b" /large " not in head:
                writer.write(_HEAD % 2 + b"ok")
                continue
            writer.write(_HEAD % LARGE)
            for _ in range(LARGE // len(_PART)):
                writer.write(_PART)
                await writer.drain()


@contextlib.contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Let this process, and those that it starts, open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
