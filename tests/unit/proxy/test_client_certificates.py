"""What a host makes of the certificates that a connection was verified with: real requests to a real upstream."""

import asyncio
import contextlib
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from proxyd.core.client_rule import ClientRule
from proxyd.core.header_change import HeaderChange
from proxyd.core.host_pattern import HostTable
from proxyd.core.networks import Networks, network_of
from proxyd.frontend.h1 import H1Frontend
from proxyd.proxy.client_access import ClientAccess
from proxyd.proxy.exchange import Downstream
from proxyd.proxy.handler import Handler
from proxyd.proxy.site_rules import SiteRules
from proxyd.proxy.snapshot import Site, Snapshot
from proxyd.proxy.times import Times
from tests.support.handler import make_handler
from tests.support.pools import HOST, made_group
from tests.support.private_ca import PrivateCa
from tests.support.small_server import SmallServer, small_server
from tests.unit.proxy.test_client_access import der_of

PEER = "192.0.2.1"
#: Everything that a client may try to be somebody with.
LIES = (
    "X-Client: root\r\nx_client: root\r\nX.CLIENT: root\r\nClient-Cert: :cm9vdA==:\r\nClient_Cert: :cm9vdA==:\r\n"
    "Client-Cert-Chain: :cm9vdA==:\r\nConnection: Client-Cert, X-Client\r\n"
)


class Served:
    def __init__(self, handler: Handler, port: int, upstream: SmallServer) -> None:
        self.handler, self.port, self.upstream = handler, port, upstream

    async def ask(self, lines: str = "", *, body: str = "") -> tuple[int, list[str]]:
        """Return the status, and the lines that the upstream saw of the head."""
        self.upstream.heads.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET / HTTP/1.1\r\nHost: example.com\r\n{lines}Connection: close\r\n\r\n{body}".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return int(answer.split(b" ")[1]), [line for one in self.upstream.heads for line in one.decode().split("\r\n")]


@contextlib.asynccontextmanager
async def served(
    chain: Sequence[bytes] = (), *, rules: Sequence[str] = (), has_access: bool = True, trusted: bool = False
) -> AsyncIterator[Served]:
    """Serve a host as the daemon does one with `client_headers: {X-Client: san}`; `rules`: the names let in."""
    async with small_server("app") as upstream, made_group(upstream.url) as group:
        reserved = HeaderChange({}, ["X-Client"], aliases=True)
        access = ClientAccess(
            headers=(("X-Client", "san"),), rules=tuple(ClientRule.parse("san", one) for one in rules)
        )
        site = Site(
            host=HOST,
            upstream=group,
            client_access=access if has_access else None,
            rules=SiteRules(request_fields=reserved),
            reserved=reserved,
            times=Times(),
        )
        handler = make_handler()
        proxies = Networks([network_of("192.0.2.1/32")] if trusted else [])
        handler.snapshot = Snapshot(sites=HostTable({HOST: site}), trusted=proxies)
        downstream = Downstream(client=PEER, names=frozenset({HOST}), policy=site.policy)
        downstream.client_chain = tuple(chain)
        frontend = H1Frontend(handler)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: frontend.connection(downstream), "127.0.0.1", 0)
        yield Served(handler, server.sockets[0].getsockname()[1], upstream)
        server.close()
        await frontend.drain(1)


def about_clients(lines: list[str]) -> list[str]:
    return [line for line in lines if "client" in line.lower() or "root" in line]


@pytest.fixture
def alice(tmp_path: Path) -> bytes:
    return der_of(PrivateCa(tmp_path).make("alice.example"))


@pytest.mark.parametrize("trusted", [False, True])
async def test_the_upstream_hears_who_it_is_from_us_alone(alice: bytes, trusted: bool) -> None:
    told = [f"Client-Cert: :{b64encode(alice).decode()}:", "X-Client: DNS:alice.example"]
    async with served([alice], trusted=trusted) as one:
        for lies in ("", LIES, LIES + "X-Forwarded-For: 198.51.100.1\r\n"):
            status, lines = await one.ask(lies)
            assert (status, about_clients(lines)) == (200, told)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("has_access", [False, True])
async def test_without_a_certificate_nobody_is_named(has_access: bool, trusted: bool) -> None:
    async with served(has_access=has_access, trusted=trusted) as one:
        status, lines = await one.ask(LIES)
        assert (status, about_clients(lines)) == (200, [])


async def test_nor_after_the_body(alice: bytes) -> None:
    async with served([alice]) as one:
        body = "0\r\nX-Client: root\r\nx_client: root\r\nClient-Cert: root\r\nX-Sum: 1\r\n\r\n"
        status, lines = await one.ask("Transfer-Encoding: chunked\r\n", body=body)
        assert status == 200
        assert not [line for line in lines if "root" in line]
        assert "X-Sum: 1" in lines


async def test_who_is_in_no_rule_gets_403(alice: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxyd.proxy")
    async with served([alice], rules=["alice.example"]) as one:
        assert (await one.ask())[0] == 200
    assert not caplog.records
    async with served([alice], rules=["bob.example", "*.alice.example"]) as one:
        assert await one.ask() == (403, [])
    async with served(rules=["alice.example"]) as one:
        assert await one.ask() == (403, [])
    first, second = (vars(record) for record in caplog.records)
    assert (str(first["host"]), first["client"]) == ("example.com", PEER)
    assert str(first["who"]) == "DNS:alice.example"
    assert len(first["fingerprint"]) == 64
    assert "tls.client_allow" in first["next"]
    assert "no certificate" in second["who"]


async def test_another_configuration_is_heeded_on_a_connection_that_is_open(alice: bytes) -> None:
    async with served([alice]) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert b"200" in await reader.readuntil(b"app")
        snapshot = one.handler.snapshot
        site = snapshot.sites.get(HOST)
        assert site is not None
        access = ClientAccess(rules=(ClientRule.parse("san", "bob.example"),))
        one.handler.snapshot = replace(snapshot, sites=HostTable({HOST: replace(site, client_access=access)}))
        writer.write(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
        writer.close()
        await writer.wait_closed()
