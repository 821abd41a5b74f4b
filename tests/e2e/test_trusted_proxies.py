"""Whom a trusted proxy speaks for, and what only it may do: the daemon and raw sockets, from several addresses."""

import ssl
import time
from http.client import HTTPConnection

import pytest

from tests.support.cached import NO_CA, get, head_of, plain, reload, seen, start_cached, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.upstream import Upstream

ONE, TWO = "one.example.test", "two.example.test"
STRANGER, PROXY = "127.0.0.1", "127.0.0.2"
CLAIMS = ("X-Forwarded-For: 9.9.9.9, 192.0.2.7", "X-Forwarded-Proto: http", "X-Forwarded-Host: shop.example")


@pytest.fixture
def served(daemon: DaemonProcess, upstream: Upstream) -> DaemonProcess:
    start_cached(daemon, {ONE: upstream.port, TWO: upstream.port}, trusted_proxies=["127.0.0.2/31"])
    return daemon


def test_only_a_trusted_proxy_is_believed(served: DaemonProcess) -> None:
    theirs = seen(tls(served.https_port, ONE, get(ONE, *CLAIMS), source=PROXY))
    assert theirs["x-forwarded-for"] == "192.0.2.7, 127.0.0.2"
    assert (theirs["x-forwarded-proto"], theirs["x-forwarded-host"]) == ("http", "shop.example")
    assert theirs["forwarded"] == 'for=192.0.2.7;host="shop.example";proto=http, for=127.0.0.2'
    ours = seen(tls(served.https_port, ONE, get(ONE, *CLAIMS), source=STRANGER))
    assert (ours["x-forwarded-for"], ours["x-forwarded-proto"]) == (STRANGER, "https")
    assert ours["x-forwarded-host"] == ONE
    eventually(lambda: "client=192.0.2.7" in served.log() and f"client={STRANGER}" in served.log(), what=served.log)


def test_each_request_of_a_proxys_connection_has_its_own_client(served: DaemonProcess) -> None:
    asked = b"".join(
        get(ONE, f"X-Forwarded-For: {client}").replace(b"Connection: close\r\n", b"")
        for client in ("192.0.2.1", "192.0.2.1", "192.0.2.2")
    )
    unlisted = get("unlisted.example").replace(b"Connection: close\r\n", b"")
    received = tls(
        served.https_port, ONE, asked + unlisted + get(ONE, "X-Forwarded-For: 192.0.2.2"), source=PROXY
    ).decode()
    assert received.count("HTTP/1.1 200 ") == 4
    assert received.count("HTTP/1.1 421 ") == 1
    assert received.count('"X-Forwarded-For", "192.0.2.1, 127.0.0.2"') == 2
    assert received.count('"X-Forwarded-For", "192.0.2.2, 127.0.0.2"') == 2
    eventually(lambda: served.log().count("client=192.0.2.2") == 2, what=served.log)


def test_a_trusted_proxy_may_ask_for_any_host(served: DaemonProcess, upstream: Upstream) -> None:
    assert status(tls(served.https_port, TWO, get(ONE), source=PROXY)) == 200
    assert status(tls(served.https_port, TWO, get(ONE), source=STRANGER)) == 421
    for name, source in ((None, STRANGER), (None, PROXY), ("other.example.test", PROXY)):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            tls(served.https_port, name, get(ONE), source=source)
    hosts: dict[str, object] = {ONE: upstream.port, TWO: upstream.port}
    served.configure(hosts, acme=NO_CA, trusted_proxies=["127.0.0.2/31"], default_host=TWO)
    reload(served)
    for host in (ONE, TWO):
        assert status(tls(served.https_port, None, get(host), source=PROXY)) == 200
    assert status(tls(served.https_port, None, get("other.example.test"), source=PROXY)) == 421
    assert status(tls(served.https_port, None, get(ONE), source=STRANGER)) == 421


def test_port_80_serves_what_a_trusted_proxy_received_by_tls(served: DaemonProcess) -> None:
    secure = "X-Forwarded-Proto: https"
    ours = seen(plain(served.http_port, get(ONE, secure, "X-Forwarded-For: 192.0.2.7"), source=PROXY))
    assert (ours["x-forwarded-for"], ours["x-forwarded-proto"]) == ("192.0.2.7, 127.0.0.2", "https")
    assert status(plain(served.http_port, get(ONE, secure), source=STRANGER)) == 308
    assert status(plain(served.http_port, get(ONE, "X-Forwarded-Proto: http"), source=PROXY)) == 308
    assert status(plain(served.http_port, get("other.example.test", secure), source=PROXY)) == 421
    challenge = get(ONE, secure, path="/.well-known/acme-challenge/unknown")
    assert plain(served.http_port, challenge, source=PROXY).endswith(b"\r\n\r\nno such challenge\n")


def test_what_port_80_serves_is_logged_without_a_connection_to_443(served: DaemonProcess) -> None:
    assert status(plain(served.http_port, get(ONE, "X-Forwarded-Proto: https", path="/logged"), source=PROXY)) == 200
    served.wait_for("/logged", seconds=5.0)


def test_a_trusted_proxy_keeps_its_connections_to_port_80(served: DaemonProcess) -> None:
    client = HTTPConnection("127.0.0.1", served.http_port, timeout=30, source_address=(PROXY, 0))
    client.connect()
    first = client.sock
    for rest in (0, 12):  # strangers rest for 10 s at most
        time.sleep(rest)
        client.request("GET", "/", headers={"Host": ONE, "X-Forwarded-Proto": "https"})
        response = client.getresponse()
        assert (response.status, bool(response.read())) == (200, True)
    assert client.sock is first
    client.close()


def test_the_limits_of_heads_hold_on_port_80_too(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {ONE: upstream.port}, trusted_proxies=["127.0.0.2/31"], limits={"max_header": "40KiB"})
    for size, answer in ((30_000, 200), (50_000, 431)):
        request = get(ONE, "X-Forwarded-Proto: https", f"X-Long: {'x' * size}")
        assert status(head_of(daemon.http_port, request, source=PROXY)) == answer


def test_a_reload_ends_the_trust_also_of_open_connections(served: DaemonProcess, upstream: Upstream) -> None:
    served.configure({ONE: upstream.port}, acme=NO_CA)
    reload(served)
    assert status(plain(served.http_port, get(ONE, "X-Forwarded-Proto: https"), source=PROXY)) == 308
    assert seen(tls(served.https_port, ONE, get(ONE, *CLAIMS), source=PROXY))["x-forwarded-for"] == PROXY


def test_who_sends_no_name_gets_the_certificate_of_the_default_host(daemon: DaemonProcess, upstream: Upstream) -> None:
    start_cached(daemon, {ONE: upstream.port, TWO: upstream.port}, default_host=TWO)
    assert status(tls(daemon.https_port, None, get(TWO))) == 200
    assert status(tls(daemon.https_port, None, get(ONE))) == 421
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        tls(daemon.https_port, "other.example.test", get(TWO))
    daemon.configure({ONE: upstream.port, TWO: upstream.port}, acme=NO_CA)
    reload(daemon)
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        tls(daemon.https_port, None, get(TWO))


def test_the_strict_scanner_stands_on_port_80_too(served: DaemonProcess) -> None:
    length_and_coding = b"Content-Length: 1\r\nTransfer-Encoding: chunked"
    for request, answer in (
        (b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: one.example.test\nX: y\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: one.example.test\r\n%b\r\n\r\n" % length_and_coding, 400),
        (b"CONNECT one.example.test:80 HTTP/1.1\r\nHost: one.example.test\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ):
        assert status(head_of(served.http_port, request, source=PROXY)) == answer, request


def test_a_redirect_of_a_request_with_a_body_is_no_request_smuggled(served: DaemonProcess) -> None:
    smuggled = get(ONE, "X-Forwarded-Proto: https")
    head = f"POST / HTTP/1.1\r\nHost: {ONE}\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    received = plain(served.http_port, head + smuggled, source=PROXY)
    assert status(received) == 308
    assert received.count(b"HTTP/1.1") == 1
