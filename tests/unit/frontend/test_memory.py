"""A reload keeps all that is there from the garbage collector: what serving leaves behind must need none."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import pytest

from proxyd.core.host_pattern import HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy
from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.h1_connection import H1Connection
from proxyd.proxy.exchange import Downstream
from proxyd.proxy.relay import Relay
from proxyd.proxy.snapshot import Site, Snapshot
from proxyd.proxy.times import Times
from proxyd.upstream.connection import UpstreamConnection
from proxyd.upstream.dialer import ConnectFailed
from tests.support.handler import make_handler
from tests.support.pools import made_group
from tests.support.upstream import Upstream

HOST = Hostname("example.com")
LEFT_BEHIND = (H1Connection, Relay, UpstreamConnection, ConnectFailed)


@contextlib.asynccontextmanager
async def served(*upstream: str, fast_path: bool) -> AsyncIterator[int]:
    with Upstream() as application:
        addresses = [one or application.port for one in upstream]
        async with made_group(*addresses, balance="first") as group:
            handler = make_handler()
            site = Site(host=HOST, upstream=group, times=Times())
            handler.snapshot = Snapshot(sites=HostTable({HOST: site}), access_log=True)
            frontend = H1Frontend(handler, fast_path=fast_path)
            downstream = Downstream(client="127.0.0.1", names=frozenset({HOST}), policy=TlsPolicy())
            server = await asyncio.get_running_loop().create_server(
                lambda: frontend.connection(downstream), "127.0.0.1", 0
            )
            yield server.sockets[0].getsockname()[1]
            server.close()
            await frontend.drain(1)
        await asyncio.sleep(0)  # connections end in the loop's next round


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "HEAD / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    ("fast_path", "upstream"),
    [(True, ("",)), (True, ("unix:/no.sock",)), (True, ("unix:/no.sock", "")), (False, ("",))],
    ids=["fast", "fast-none", "fast-second", "slow"],
)
async def test_serving_leaves_no_cycles_behind(request_text: str, fast_path: bool, upstream: tuple[str, ...]) -> None:
    gc.collect()
    gc.disable()
    try:
        async with served(*upstream, fast_path=fast_path) as port:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request_text.encode())
                assert (await reader.read()).startswith(b"HTTP/1.1 ")
                writer.close()
                await writer.wait_closed()
        left = [type(one).__name__ for one in gc.get_objects() if isinstance(one, LEFT_BEHIND)]
    finally:
        gc.enable()
    assert left == []
