"""What a client of our own is shown, without a socket."""

import ssl

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.tls.context import certificate_context
from proxyd.tls.memory_handshake import shown_leaf
from tests.support.certs import make_pem

HOST, WILDCARD, ADDRESS = Hostname("example.com"), Hostname("*.example.com"), Hostname("127.0.0.1")


def certificate(host: Hostname, *, rsa_key: bool = False) -> Certificate:
    return Certificate.parse(make_pem(host.text, rsa_key=rsa_key))


@pytest.mark.parametrize("host", [HOST, Hostname("::1"), ADDRESS], ids=str)
@pytest.mark.parametrize("rsa_key", [False, True], ids=["p256", "rsa"])
def test_it_shows_the_leaf(host: Hostname, rsa_key: bool) -> None:
    one = certificate(host, rsa_key=rsa_key)
    server = certificate_context(host, [one])
    assert shown_leaf(server, host, key_kind=one.key_kind) == one.leaf


def test_of_two_kinds_of_keys_it_shows_the_one_that_is_asked_for() -> None:
    modern, old = certificate(HOST), certificate(HOST, rsa_key=True)
    for order in ((modern, old), (old, modern)):
        server = certificate_context(HOST, order)
        assert shown_leaf(server, HOST, key_kind="p256") == modern.leaf
        assert shown_leaf(server, HOST, key_kind="rsa2048") == old.leaf


def test_a_kind_that_is_not_there_is_not_shown() -> None:
    assert shown_leaf(certificate_context(HOST, [certificate(HOST)]), HOST, key_kind="rsa2048") is None


def test_a_handshake_that_the_server_refuses_shows_nothing() -> None:
    server = certificate_context(HOST, [certificate(HOST)])
    assert shown_leaf(server, Hostname("other.example"), key_kind="p256") is None
    assert shown_leaf(server, ADDRESS, key_kind="p256") is None


def test_a_server_without_a_certificate_shows_nothing() -> None:
    assert shown_leaf(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), HOST, key_kind="p256") is None


def test_it_shows_the_leaf_where_clients_must_have_certificates() -> None:
    """In TLS 1.3 a client sees the leaf before the server knows whom it talks to."""
    one = certificate(HOST)
    server = certificate_context(HOST, [one])
    server.load_verify_locations(cadata=make_pem("clients.example").decode())
    server.verify_mode = ssl.CERT_REQUIRED
    assert shown_leaf(server, HOST, key_kind="p256") == one.leaf


def test_a_wildcard_is_asked_for_with_a_sample_label() -> None:
    one = certificate(WILDCARD)
    sample = Hostname("proxyd-check.example.com")
    assert shown_leaf(certificate_context(sample, [one]), WILDCARD, key_kind="p256") == one.leaf
