"""Which versions of TLS a host takes, and whose certificate who gets: the daemon and raw TLS connections."""

import ssl
from contextlib import suppress

import pytest

from tests.support.cached import NO_CA, get, plain, reload, start_cached, status
from tests.support.client_certificates import client_context
from tests.support.daemon import DaemonProcess
from tests.support.raw_tls import TlsClient, answered
from tests.support.upstream import Upstream

OLD, NEW, ADDRESS = "old.example.test", "new.example.test", "127.0.0.1"
PROXY = "127.0.0.2"


def alert(client: TlsClient, name: str | None, *, source: str = "127.0.0.1") -> str:
    with pytest.raises(ssl.SSLError) as caught:
        client.ask(name, source=source)
    return caught.value.reason or ""


@pytest.mark.parametrize("version", [1.3, "1.3", "tls1.3"], ids=repr)
def test_each_host_has_its_floor(daemon: DaemonProcess, upstream: Upstream, version: object) -> None:
    start_cached(daemon, {OLD: upstream.port, NEW: {"upstream": upstream.port, "tls": {"min_version": version}}})
    old, new = TlsClient(daemon, "1.2"), TlsClient(daemon, "1.3")
    assert (old.ask(OLD), new.ask(OLD), new.ask(NEW)) == (200, 200, 200)
    assert alert(old, NEW) == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_all_hosts_have_the_floor_of_defaults(daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = {NEW: upstream.port, OLD: {"upstream": upstream.port, "tls": {"min_version": "1.2"}}}
    start_cached(daemon, hosts, defaults={"tls": {"min_version": "1.3"}})
    old = TlsClient(daemon, "1.2")
    assert old.ask(OLD) == 200
    assert alert(old, NEW) == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_one_certificate_makes_no_way_around_a_floor(daemon: DaemonProcess, upstream: Upstream, version: str) -> None:
    hosts = {OLD: upstream.port, NEW: {"upstream": upstream.port, "tls": {"min_version": "1.3"}}}
    start_cached(daemon, hosts, covers_all=True)
    client = TlsClient(daemon, version)
    assert client.ask(OLD, NEW) == 421
    if version == "1.3":
        assert client.ask(NEW, OLD) == 421
    daemon.configure({OLD: upstream.port, NEW: upstream.port}, acme=NO_CA)
    reload(daemon)
    assert client.ask(OLD, NEW) == 200


def test_a_reload_changes_the_floor_also_of_sessions_and_idle_connections(
    daemon: DaemonProcess, upstream: Upstream
) -> None:
    start_cached(daemon, {OLD: upstream.port, NEW: upstream.port}, workers=1)
    client = TlsClient(daemon, "1.2")
    assert client.ask(NEW) == 200
    with client.connected(NEW) as tls, client.connected(OLD) as stays:
        for one, host in ((tls, NEW), (stays, OLD)):
            one.sendall(get(host).replace(b"Connection: close\r\n", b""))
            assert answered(one) == 200
        daemon.configure(
            {OLD: upstream.port, NEW: {"upstream": upstream.port, "tls": {"min_version": 1.3}}}, acme=NO_CA
        )
        reload(daemon)
        assert tls.recv(65536) == b""
        stays.sendall(get(OLD))
        assert answered(stays) == 200
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        client.ask(NEW, resumes=True)


def test_who_sends_no_name(daemon: DaemonProcess, upstream: Upstream) -> None:
    """The listed address that it reached, else the default host, else the alert; trusted proxies and looks too."""
    client, looking = TlsClient(daemon, "1.3"), get("any.example", path="/ready")

    def leaf(name: str | None, source: str) -> bytes | None:
        with suppress(ssl.SSLError), client.connected(name, source=source) as tls:
            tls.sendall(looking)
            assert answered(tls) == 200
            return tls.getpeercert(binary_form=True)
        return None

    start_cached(daemon, {OLD: upstream.port, ADDRESS: upstream.port}, default_host=OLD, ready_path="/ready")
    with client.connected(OLD) as tls:
        old = tls.getpeercert(binary_form=True)
    for source in (ADDRESS, PROXY):
        assert client.ask(None, ADDRESS, source=source) == 200
        assert leaf(None, source) not in (old, None)
    daemon.configure({OLD: upstream.port}, acme=NO_CA, default_host=OLD, ready_path="/ready", trusted_proxies=[PROXY])
    reload(daemon)
    assert [leaf(None, source) for source in (ADDRESS, PROXY)] == [old, old]
    assert [leaf("unknown.example", source) for source in (ADDRESS, PROXY)] == [None, old]
    assert client.ask("unknown.example", OLD, source=PROXY) == 200
    assert alert(client, "unknown.example") == "TLSV1_UNRECOGNIZED_NAME"
    daemon.configure({OLD: upstream.port}, acme=NO_CA, ready_path="/ready", trusted_proxies=[PROXY])
    reload(daemon)
    assert [leaf(None, source) for source in (ADDRESS, PROXY)] == [None, None]
    assert [leaf("unknown.example", source) for source in (ADDRESS, PROXY)] == [None, None]
    for source in (ADDRESS, PROXY):
        assert alert(client, None, source=source) == "TLSV1_UNRECOGNIZED_NAME"
    assert alert(client, "unknown.example", source=PROXY) == "TLSV1_UNRECOGNIZED_NAME"
    assert status(plain(daemon.http_port, looking)) == 200


def test_the_suites_are_few_and_good(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {OLD: upstream.port})
    context = client_context("1.2")
    context.set_ciphers("ALL:@SECLEVEL=0")
    taken = set()
    for cipher in context.get_ciphers():
        if cipher["protocol"] == "TLSv1.3":
            continue
        client = TlsClient(daemon, "1.2")
        client.context.set_ciphers(f"{cipher['name']}:@SECLEVEL=0")
        with suppress(ssl.SSLError):
            assert client.ask(OLD) == 200
            taken.add(cipher["name"])
    assert taken == {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    }


def test_who_offers_nothing_that_we_take_is_told(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {OLD: upstream.port})
    client = TlsClient(daemon, "1.2")
    client.context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    assert alert(client, OLD) == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    daemon.wait_for("handshake failed host=old.example.test client=127.0.0.1 reason=")
