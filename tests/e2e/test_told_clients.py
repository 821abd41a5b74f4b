"""What upstreams are told of clients with certificates, and who is let in: the daemon and real TLS connections."""

import hashlib
import socket
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA, get, plain, reload, seen, start_cached, status
from tests.support.client_certificates import ClientCa, client_context, der_of
from tests.support.daemon import DaemonProcess
from tests.support.scrape import scrape
from tests.support.small_server import threaded_server
from tests.support.upstream import Upstream

HOST, PUBLIC = "one.example.test", "two.example.test"
PROXY = "127.0.0.3"
#: What a client writes that would like to be somebody.
LIES = (
    *("X-Client: root", "x_client: root", "X.Client: root", "Client-Cert: :cm9vdA==:", "Client-Cert-Chain: :cm9vdA==:"),
    "Connection: X-Client, Client-Cert",
)
NAMES = {"X-Client": "subject", "X-Print": "fingerprint", "X-Issuer": "issuer"}


@pytest.fixture
def ca(tmp_path: Path) -> ClientCa:
    return ClientCa(tmp_path, between=1)


@contextmanager
def connected(
    daemon: DaemonProcess, certificate: Path | None, *, version: str = "1.3", source: str = "127.0.0.1"
) -> Iterator[Any]:
    with (
        socket.create_connection(("127.0.0.1", daemon.https_port), 10, source_address=(source, 0)) as raw,
        client_context(version, certificate).wrap_socket(raw, server_hostname=HOST) as tls,
    ):
        yield tls


def ask(daemon: DaemonProcess, certificate: Path | None, *lines: str, **more: str) -> bytes:
    received = b""
    with connected(daemon, certificate, **more) as tls:
        tls.sendall(get(HOST, *lines))
        while data := tls.recv(65536):
            received += data
    return received


def about(fields: dict[str, str]) -> dict[str, str]:
    """Return what an upstream might take for the client."""
    ours = "client", "x-client", "x_client", "x.client", "x-print", "x-issuer"
    return {name: value for name, value in fields.items() if "root" in value or name.startswith(ours)}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("more", [{"workers": 2}, {"workers": 1, "fast_path": False}])
def test_an_upstream_hears_who_the_client_is_from_us_alone(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa, version: str, more: dict[str, Any]
) -> None:
    tls = {"client_ca": str(ca.file), "client_auth": "optional", "client_headers": NAMES}
    hosts = {HOST: {"upstream": upstream.port, "tls": tls}, PUBLIC: {"upstream": upstream.port}}
    start_cached(daemon, hosts, trusted_proxies=[PROXY], **more)
    alice = ca.client("alice")
    for source in ("127.0.0.1", PROXY):
        found = about(seen(ask(daemon, alice, *LIES, version=version, source=source)))
        certificate, chain = found.pop("client-cert"), found.pop("client-cert-chain", "")
        assert b64decode(certificate.strip(":"), validate=True) == der_of(alice)
        assert all(one[0] == one[-1] == ":" for one in chain.split(", ") if one)
        assert b64decode(chain.split(", ")[0].strip(":")) != der_of(alice)
        assert found == {
            "x-client": "CN=alice",
            "x-print": hashlib.sha256(der_of(alice)).hexdigest(),
            "x-issuer": "CN=Client CA 1",
        }
        assert about(seen(ask(daemon, None, *LIES, version=version, source=source))) == {}
    told = plain(daemon.http_port, get(PUBLIC, "X-Forwarded-Proto: https", "Client-Cert: :cm9vdA==:"), source=PROXY)
    assert about(seen(told)) == {}


def test_a_server_that_is_asked_who_may_pass_hears_it_from_us_alone_too(
    daemon: DaemonProcess, upstream: Upstream, ca: ClientCa
) -> None:
    with threaded_server() as auth:
        auth.lines = "X-Client: root\r\n"
        tls = {"client_ca": str(ca.file), "client_auth": "optional", "client_headers": NAMES}
        asked = {"url": auth.url, "copy_headers": ["X-Client"]}
        start_cached(daemon, {HOST: {"upstream": upstream.port, "tls": tls, "forward_auth": asked}}, workers=1)
        found = about(seen(ask(daemon, ca.client("alice"), *LIES)))
        assert found["x-client"] == "CN=alice"
        assert about(seen(ask(daemon, None, *LIES))) == {}
    with_certificate, without = auth.heads
    assert b"\r\nX-Client: CN=alice\r\n" in with_certificate
    assert b"\r\nClient-Cert: :" in with_certificate
    assert b"root" not in with_certificate + without


def test_only_those_are_let_in_who_are_listed(daemon: DaemonProcess, upstream: Upstream, ca: ClientCa) -> None:
    alice, bob, carol = (ca.client(one) for one in ("alice", "bob", "carol"))
    rules = [{"subject": "CN=alice"}, {"fingerprint": hashlib.sha256(der_of(bob)).hexdigest()}]
    tls: dict[str, Any] = {"client_ca": str(ca.file), "client_auth": "optional", "client_allow": rules}
    hosts: dict[str, object]
    hosts, admin = {HOST: {"upstream": upstream.port, "tls": tls}}, free_port()
    start_cached(daemon, hosts, workers=2, admin={"listen": f"127.0.0.1:{admin}"})
    assert [status(ask(daemon, one)) for one in (alice, bob, carol, None)] == [200, 200, 403, 403]
    daemon.wait_for("a client's certificate is not in client_allow: 403")
    who = f'who="CN=carol" fingerprint={hashlib.sha256(der_of(carol)).hexdigest()}'
    assert f"host={HOST} client=127.0.0.1 {who}" in daemon.log()
    assert scrape(admin)["proxyd_limits_hit_total", "client_allow"] == 2
    rules.append({"subject": "CN=carol"})
    del rules[0]
    with connected(daemon, alice) as open_one:
        open_one.sendall(get(HOST).replace(b"Connection: close\r\n", b""))
        answer = open_one.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        while not answer.endswith(b"}"):  # the upstream's body, which may come behind its head
            answer += open_one.recv(65536)
        daemon.configure(hosts, acme=NO_CA, workers=2, admin={"listen": f"127.0.0.1:{admin}"})
        reload(daemon)
        open_one.sendall(get(HOST))
        assert b"HTTP/1.1 403 " in open_one.recv(65536)
    assert [status(ask(daemon, one)) for one in (alice, bob, carol, None)] == [403, 200, 200, 403]
