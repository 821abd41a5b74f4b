"""One real TLS connection shows what clients see."""

import asyncio
import ssl

import pytest

from pebble.server import free_port
from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.daemon.handshake_check import Seen, look, place
from proxyd.tls.context import certificate_context, load_pem
from tests.support.certs import make_pem
from tests.support.tls_listener import another_program, silence

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
