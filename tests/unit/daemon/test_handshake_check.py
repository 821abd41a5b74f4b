"""One real TLS connection shows what clients see."""

import asyncio
import ssl
from pathlib import Path
from typing import Literal

import pytest

from pebble.server import free_port
from proxyd.certs.certificate import Certificate
from proxyd.core.host_pattern import HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy
from proxyd.daemon.handshake_check import Seen, look, place
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.memory import Memory
from proxyd.store.journal import Journal
from proxyd.tls.certificate_table import CertificateTable
from proxyd.tls.context import certificate_context, load_pem
from tests.support.certs import make_pem
from tests.support.tls_listener import another_program, our_listener, silence

HOST, WILDCARD = Hostname("example.com"), Hostname("*.example.com")


def certificate(host: Hostname = HOST, *, rsa_key: bool = False) -> Certificate:
    return Certificate.parse(make_pem(host.text, rsa_key=rsa_key))


def any_name(one: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pem(context, one.pem)
    return context


async def test_it_tells_the_right_leaf_from_a_wrong_one() -> None:
    one = certificate()
    async with another_program(certificate_context(HOST, [one])) as address:
        assert await look(address, HOST, one) == (Seen.RIGHT, "")
        assert await look(address, HOST, certificate()) == (Seen.WRONG, "")


async def test_both_kinds_of_keys_are_looked_at() -> None:
    modern, old = certificate(), certificate(rsa_key=True)
    async with another_program(certificate_context(HOST, [modern, old])) as address:
        assert await look(address, HOST, modern) == (Seen.RIGHT, "")
        assert await look(address, HOST, old) == (Seen.RIGHT, "")
        assert await look(address, HOST, certificate(rsa_key=True)) == (Seen.WRONG, "")
    async with another_program(certificate_context(HOST, [modern])) as address:
        seen, _ = await look(address, HOST, old)
        assert seen is Seen.NOTHING


async def test_the_leaf_is_seen_where_clients_must_have_certificates() -> None:
    one = certificate()
    context = any_name(one)
    context.load_verify_locations(cadata=make_pem("clients.example").decode())
    context.verify_mode = ssl.CERT_REQUIRED
    async with another_program(context) as address:
        assert await look(address, HOST, one) == (Seen.RIGHT, "")


@pytest.mark.parametrize("floor", ["1.2", "1.3"])
@pytest.mark.parametrize("asks", [False, True])
async def test_policies_do_not_hide_what_is_shown(tmp_path: Path, floor: Literal["1.2", "1.3"], asks: bool) -> None:
    """A client that wants RSA has TLS 1.2, and there it is refused before the end where it needs a certificate."""
    modern, old = certificate(), certificate(rsa_key=True)
    ca = make_pem("clients.example") if asks else b""
    policy = TlsPolicy(min_version=floor, client_auth="require" if asks else "none", client_ca=ca)
    table = CertificateTable()
    table.keep_to(HostTable({HOST: policy}))
    clock = SystemClock()
    async with our_listener(table, Memory(Journal(tmp_path / "journal", clock=clock), clock=clock)) as address:
        for served in ([old], [modern], [modern, old]):
            table.put(HOST, served)
            for one in served:
                assert await look(address, HOST, one) == (Seen.RIGHT, "")
                assert await table.confirm(HOST, one)
            other = certificate(rsa_key=served[0] is old)
            assert await look(address, HOST, other) == (Seen.WRONG, "")
            assert not await table.confirm(HOST, other)


async def test_a_wildcard_is_asked_for_with_a_sample_label() -> None:
    one, asked = certificate(WILDCARD), []
    context = any_name(one)
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with another_program(context) as address:
        assert await look(address, WILDCARD, one) == (Seen.RIGHT, "")
    assert asked == ["proxyd-check.example.com"]


async def test_what_does_not_answer_shows_nothing() -> None:
    with silence() as address:
        assert await look(address, HOST, certificate(), seconds=0.05) == (Seen.NOTHING, "TimeoutError")
    seen, reason = await look(("127.0.0.1", free_port()), HOST, certificate())
    assert seen is Seen.NOTHING
    assert "onnect" in reason


async def test_what_speaks_no_tls_or_refuses_the_name_shows_nothing() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        seen, reason = await look(server.sockets[0].getsockname(), HOST, certificate())
    assert (seen, bool(reason)) == (Seen.NOTHING, True)
    async with another_program(certificate_context(HOST, [certificate()])) as address:
        seen, reason = await look(address, Hostname("other.example"), certificate())
    assert (seen, bool(reason)) == (Seen.NOTHING, True)


@pytest.mark.parametrize(
    ("host", "where"),
    [
        (HOST, ("192.0.2.1", 443)),
        (WILDCARD, ("192.0.2.1", 443)),
        (Hostname("127.0.0.3"), ("127.0.0.3", 443)),  # an address of this machine
        (Hostname("::1"), ("::1", 443)),
        (Hostname("198.51.100.7"), None),  # behind a NAT it is not ours to connect to
    ],
    ids=str,
)
def test_a_client_of_an_address_comes_in_there(host: Hostname, where: tuple[str, int] | None) -> None:
    assert place(("192.0.2.1", 443), host) == where
