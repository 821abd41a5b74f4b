"""Requests go to who can serve them; a client sees of the rest a clear status at most."""

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from proxyd.config.host import Timeouts
from proxyd.core.host_pattern import HostTable
from proxyd.core.tls_policy import TlsPolicy
from proxyd.frontend.h1 import H1Frontend
from proxyd.proxy.exchange import Downstream
from proxyd.proxy.snapshot import Site, Snapshot
from proxyd.proxy.times import Times
from proxyd.upstream.group import UpstreamGroup
from tests.support.handler import make_handler
from tests.support.pools import HOST, made_group
from tests.support.small_server import small_server


@contextlib.asynccontextmanager
async def served(group: UpstreamGroup, **timeouts: str) -> AsyncIterator[int]:
    """Serve a host from `group`; give the port."""
    handler = make_handler()
    site = Site(host=HOST, upstream=group, times=Times.of(Timeouts.model_validate(timeouts)))
    handler.snapshot = Snapshot(sites=HostTable({HOST: site}))
    frontend = H1Frontend(handler)
    downstream = Downstream(client="192.0.2.1", names=frozenset({HOST}), policy=TlsPolicy())
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: frontend.connection(downstream), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await frontend.drain(1)
    assert [pool.active for pool in group.pools] == [0] * len(group.pools)


async def ask(port: int, request: str = "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.fixture
def nobody() -> int:
    """A port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_requests_are_spread() -> None:
    async with (
        small_server("one") as one,
        small_server("two") as two,
        made_group(one.url, two.url) as group,
        served(group) as port,
    ):
        answers = [(await ask(port))[-3:] for _ in range(10)]
    assert Counter(answers) == {b"one": 5, b"two": 5}


@pytest.mark.parametrize("body", ["", "hello"])
async def test_who_does_not_listen_costs_no_request(nobody: int, body: str) -> None:
    request = f"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    async with small_server("one") as one, made_group(nobody, one.url, balance="first") as group, served(group) as port:
        for _ in range(5):
            assert (await ask(port, request)).endswith(b"one")
        assert not group.pools[0].passive.admits(asyncio.get_running_loop().time())


async def test_two_that_do_not_listen_leave_the_third(nobody: int) -> None:
    async with (
        small_server("one") as one,
        made_group(nobody, "unix:/no.sock", one.url, balance="first") as group,
        served(group) as port,
    ):
        assert (await ask(port)).endswith(b"one")


async def test_who_does_not_accept_in_time_is_left_for_another() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        async with small_server("one") as one:
            urls = full.getsockname()[1], one.url
            async with made_group(*urls, balance="first") as group, served(group, connect="200ms") as port:
                assert (await ask(port)).endswith(b"one")


async def test_nobody_listens(nobody: int) -> None:
    async with made_group(nobody) as group, served(group) as port:
        for _ in range(5):
            assert (await ask(port)).startswith(b"HTTP/1.1 502 ")
    async with made_group(nobody, "unix:/no.sock") as group, served(group) as port:
        for _ in range(2):
            assert (await ask(port)).startswith(b"HTTP/1.1 502 ")
        third, fourth = await ask(port), await ask(port)
    for answer in (third, fourth):
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 10\r\n" in answer
        assert b"The application behind this server is not available." in answer


async def test_when_all_were_out_who_is_back_serves_within_a_second(nobody: int) -> None:
    async with made_group(nobody, "unix:/no.sock", balance="first") as group, served(group) as port:
        for status in (502, 502, 503):
            assert (await ask(port)).startswith(b"HTTP/1.1 %d " % status)
        async with small_server("back", port=nobody):
            assert (await ask(port)).startswith(b"HTTP/1.1 503 ")
            await asyncio.sleep(1.05)
            assert [(await ask(port))[-4:] for _ in range(3)] == [b"back"] * 3


async def test_one_that_is_out_is_back_after_its_probe(nobody: int) -> None:
    async with small_server("one") as one, small_server("two", port=nobody) as two:
        two.lines = "no colon\r\n"
        async with made_group(one.url, two.url, balance="round_robin") as group, served(group) as port:
            answers = [(await ask(port)) for _ in range(10)]
            assert sum(answer.startswith(b"HTTP/1.1 502 ") for answer in answers) == 3
            group.pools[1].passive.out_until = 0.001
            two.lines = ""
            answers = [(await ask(port))[-3:] for _ in range(4)]
            assert Counter(answers) == {b"one": 2, b"two": 2}
            assert group.pools[1].passive.failures == 0


async def test_all_are_busy() -> None:
    async with small_server() as one, made_group(one.url, max_upstream_connections=1) as group:
        one.hangs = True
        async with served(group) as port:
            first = asyncio.create_task(ask(port))
            while not one.heads:  # noqa: ASYNC110 - what happens there has no event
                await asyncio.sleep(0.01)
            answer = await ask(port)
            one.cut()
            assert (await first).startswith(b"HTTP/1.1 502 ")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in answer


async def test_what_this_machine_lacks_is_not_the_upstreams_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        small_server() as one,
        small_server() as two,
        made_group(one.url, two.url) as group,
        served(group) as port,
    ):

        async def full(*_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", full)
        reader, writer = await _connect(port)
        writer.write(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert [pool.passive.failures for pool in group.pools] == [0, 0]


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As asyncio.open_connection, whose way is closed."""
    sock = socket.create_connection(("127.0.0.1", port))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    sock.setblocking(False)
    transport, _ = await type(loop).create_connection(loop, lambda: protocol, sock=sock)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
