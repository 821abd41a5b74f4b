"""Upstreams as the daemon makes them, from options as they are written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from proxyd.config.host import HostOptions
from proxyd.core.counters import Counters
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.upstream.connection import UpstreamConnection, UpstreamError
from proxyd.upstream.group import UpstreamGroup
from proxyd.upstream.pool import UpstreamPool
from proxyd.upstream.pools import Pools

HOST = Hostname("example.com")


def options(*upstream: object, **more: object) -> HostOptions:
    return HostOptions.model_validate({"upstream": list(upstream), **more})


def apply(pools: Pools, *hosts: HostOptions) -> list[UpstreamGroup]:
    """Make `hosts` what is configured, as a reload does."""
    served: dict[Hostname | HostPattern, HostOptions] = {
        Hostname(f"{number}.example.com"): one for number, one in enumerate(hosts)
    }
    prepared = pools.prepare(served)
    pools.adopt(prepared)
    return [prepared.group(one) for one in hosts]


@contextlib.asynccontextmanager
async def made_pools() -> AsyncIterator[Pools]:
    async with asyncio.TaskGroup() as tasks:
        pools = Pools(tasks=tasks, counters=Counters())
        try:
            yield pools
        finally:
            pools.close()


@contextlib.asynccontextmanager
async def made_group(*upstream: object, **more: object) -> AsyncIterator[UpstreamGroup]:
    async with made_pools() as pools:
        yield apply(pools, options(*upstream, **more))[0]


async def connected(pool: UpstreamPool, seconds: float = 3) -> UpstreamConnection | UpstreamError:
    """Return a new connection, or why there is none."""
    result: asyncio.Future[UpstreamConnection | UpstreamError] = asyncio.get_running_loop().create_future()
    pool.connect(seconds, result.set_result)
    return await result


async def failure(pool: UpstreamPool, seconds: float = 3) -> str:
    """Return why no connection can be made."""
    result = await connected(pool, seconds)
    if isinstance(result, UpstreamError):
        return str(result)
    result.abort()
    return "connected"
