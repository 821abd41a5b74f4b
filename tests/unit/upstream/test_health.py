"""Checks of our own against real servers."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.pools import apply, made_group, made_pools, options
from tests.support.small_server import small_server

QUICK = {"interval": "50ms", "timeout": "200ms", "path": "/up?deep=1"}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what happens elsewhere has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("host_header", ["keep", "upstream"])
async def test_what_is_asked(host_header: str) -> None:
    async with (
        small_server() as server,
        made_group(server.url, health=QUICK, host_header=host_header) as group,
    ):
        await until(lambda: server.heads)
        assert group.pools[0].checked is not None
        head = server.heads[0].split(b"\r\n")
        assert head[0] == b"GET /up?deep=1 HTTP/1.1"
        host = "0.example.com" if host_header == "keep" else f"127.0.0.1:{server.port}"
        assert f"Host: {host}".encode() in head
        assert b"X-Forwarded-Proto: https" in head


@pytest.mark.parametrize("trouble", ["status", "hangs", "garbage"])
async def test_who_fails_is_out_after_three_and_back_after_two(trouble: str) -> None:
    async with small_server() as server, made_group(server.url, health=QUICK) as group:
        (pool,) = group.pools
        assert pool.checked is not None
        await until(lambda: pool.checked and pool.checked.is_healthy)
        if trouble == "status":
            server.status = 503
        elif trouble == "hangs":
            server.hangs = True
        else:
            server.lines = "no colon\r\n"
        failed_from = len(server.heads)
        await until(lambda: group.pick("192.0.2.1") is None)
        assert 2 <= len(server.heads) - failed_from <= 4  # one may have been on its way
        assert group.unavailable() == (f"no upstream is available: {server.url} fails its health checks", 10)
        server.status, server.hangs, server.lines = 200, False, ""
        await until(lambda: group.pick("192.0.2.1") is pool)


async def test_who_is_not_there_is_out_at_once_and_back_when_it_is() -> None:
    async with small_server() as server:
        port = server.port
    async with made_group(port, health=QUICK) as group:
        await until(lambda: group.pick("192.0.2.1") is None)
        async with small_server(port=port):
            await until(lambda: group.pick("192.0.2.1") is group.pools[0])


async def test_redirects_are_passes() -> None:
    async with small_server() as server, made_group(server.url, health=QUICK) as group:
        server.status = 302
        (pool,) = group.pools
        await until(lambda: pool.checked and pool.checked.is_healthy is not None)
        assert pool.checked is not None
        assert pool.checked.is_healthy


async def test_a_reload_keeps_what_is_known_and_ends_what_is_gone() -> None:
    async with small_server() as server, made_pools() as pools:
        host = options(server.url, health=QUICK)
        (group,) = apply(pools, host)
        await until(lambda: group.pools[0].checked and group.pools[0].checked.is_healthy)
        assert apply(pools, host) == [group]
        assert group.pools[0].checked is not None
        assert group.pools[0].checked.is_healthy
        apply(pools, options(server.url))
        await asyncio.sleep(0.1)
        server.heads.clear()
        await asyncio.sleep(0.2)
        assert server.heads == []


async def test_hosts_with_the_same_upstream_have_one_check() -> None:
    async with small_server() as server, made_pools() as pools:
        checked = {**QUICK, "interval": "1h"}
        apply(pools, *[options(server.url, health=checked) for _ in range(5)])
        await until(lambda: server.heads)
        await asyncio.sleep(0.1)
        assert len(server.heads) == 1
