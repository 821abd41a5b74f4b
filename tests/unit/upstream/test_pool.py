"""How long idle connections are kept."""

import asyncio

import pytest

from proxyd.core.response_scanner import ResponseHead
from proxyd.upstream import dialer
from proxyd.upstream.connection import UpstreamConnection, UpstreamError
from proxyd.upstream.pool import UpstreamPool
from tests.support.pools import apply, connected, made_group, made_pools, options
from tests.support.small_server import small_server


class Answer:
    """Waits for the end of an answer."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def interim(self, head: ResponseHead) -> None: ...
    def response(self, head: ResponseHead, body: int) -> None: ...
    def switched(self, head: ResponseHead) -> None: ...
    def data(self, data: bytes) -> None: ...
    def end(self, trailers: bytes) -> None:
        self.over.set_result(None)

    def failed(self, error: UpstreamError) -> None:
        self.over.set_exception(error)

    def flush(self) -> None: ...
    def upload_paused(self, paused: bool) -> None: ...


async def used(pool: UpstreamPool) -> UpstreamConnection:
    """Return a connection that served a request."""
    connection = await connected(pool)
    assert isinstance(connection, UpstreamConnection)
    answer = Answer()
    connection.begin(answer, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", is_head=False, has_body=False)
    await answer.over
    return connection


@pytest.mark.parametrize(
    ("told", "kept"), [("", 4.0), ("timeout=5", 4.0), ("timeout=3, max=9", 2.0), ("timeout=60", 4)]
)
async def test_idle_connections_are_closed_before_the_upstream_does(told: str, kept: float) -> None:
    async with small_server() as server, made_group(server.url) as group:
        server.lines = f"Keep-Alive: {told}\r\n" if told else ""
        (pool,) = group.pools
        connection = await used(pool)
        loop = asyncio.get_running_loop()
        pool.give_back(connection)
        assert pool.idle_until == pytest.approx(loop.time() + kept, abs=0.2)
        assert pool.take_idle() is connection
        assert pool.take_idle() is None


async def test_one_that_the_upstream_closes_at_once_is_not_kept() -> None:
    async with small_server() as server, made_group(server.url) as group:
        server.lines = "Keep-Alive: timeout=1\r\n"
        (pool,) = group.pools
        pool.give_back(await used(pool))
        assert pool.take_idle() is None


async def test_those_that_end_earlier_are_closed_earlier() -> None:
    async with small_server() as server, made_group(server.url) as group:
        (pool,) = group.pools
        long = await used(pool)
        server.lines = "Keep-Alive: timeout=1.2\r\n"
        short = await used(pool)
        short.idle = 1.2
        pool.give_back(long)
        pool.give_back(short)
        await asyncio.sleep(0.4)
        assert not short.is_open
        assert pool.take_idle() is long
        pool.give_back(long)


async def test_a_connection_to_a_name_is_not_used_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "_NAMED_SECONDS", 0.1)
    async with small_server() as server, made_group(f"http://localhost:{server.port}", server.url) as group:
        for pool, is_kept in zip(group.pools, (False, True), strict=True):
            connection = await used(pool)
            pool.give_back(connection)
            assert pool.take_idle() is connection
            await asyncio.sleep(0.11)
            pool.give_back(connection)
            assert connection.is_open == is_kept


async def test_a_reload_keeps_the_connections_of_what_stays() -> None:
    async with small_server() as one, small_server() as two, made_pools() as pools:
        first, second = options(one.url), options(two.url)
        kept, dropped = apply(pools, first, second)
        connections = [await used(group.pools[0]) for group in (kept, dropped)]
        for group, connection in zip((kept, dropped), connections, strict=True):
            group.pools[0].give_back(connection)
        again, both = apply(pools, first, options(one.url, two.url, balance="first"))
        assert again is kept
        assert both.pools == (kept.pools[0], dropped.pools[0])
        assert apply(pools, first) == [kept]
        await asyncio.sleep(0)
        assert kept.pools[0].take_idle() is connections[0]
        assert dropped.pools[0].take_idle() is None
        late = await used(dropped.pools[0])  # a request that was under way
        dropped.pools[0].give_back(late)
        assert not late.is_open
        kept.pools[0].give_back(connections[0])


async def test_of_many_at_once_those_that_wait_get_what_is_given_back() -> None:
    async with small_server() as server, made_group(server.url) as group:
        (pool,) = group.pools
        over: asyncio.Queue[UpstreamConnection | UpstreamError] = asyncio.Queue()

        def done(result: UpstreamConnection | UpstreamError) -> None:
            over.put_nowait(result)
            assert isinstance(result, UpstreamConnection)
            pool.give_back(result)

        for _ in range(500):
            pool.connect(3, done)
        found = {await over.get() for _ in range(500)}
        assert len(found) < 250
        assert over.empty()


async def test_many_connect_at_once_where_nothing_is_given_back() -> None:
    async with small_server() as server, made_group(server.url) as group:
        (pool,) = group.pools
        over: asyncio.Queue[UpstreamConnection | UpstreamError] = asyncio.Queue()
        for _ in range(100):
            pool.connect(3, over.put_nowait)
        found = {await over.get() for _ in range(100)}
        assert len(found) == 100
        for connection in found:
            assert isinstance(connection, UpstreamConnection)
            connection.abort()


async def test_who_waits_may_leave_or_want_a_new_connection() -> None:
    async with small_server() as server, made_group(server.url) as group:
        (pool,) = group.pools
        idle = await used(pool)
        over: asyncio.Queue[UpstreamConnection | UpstreamError] = asyncio.Queue()
        before: asyncio.Queue[UpstreamConnection | UpstreamError] = asyncio.Queue()
        dials = [pool.connect(3, before.put_nowait) for _ in range(32)]
        pool.connect(3, over.put_nowait, anew=True)
        left = pool.connect(3, over.put_nowait)
        pool.connect(3, over.put_nowait)
        left.cancel()
        for dial in dials:
            dial.cancel()
        pool.give_back(idle)
        assert await over.get() is idle
        new = await over.get()
        assert isinstance(new, UpstreamConnection)
        assert new is not idle
        await asyncio.sleep(0.05)
        assert over.empty()
        assert before.empty()
        idle.abort()
        new.abort()
