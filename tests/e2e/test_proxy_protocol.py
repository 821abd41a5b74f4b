"""PROXY headers on both ports: the daemon and raw sockets, from several addresses."""

import socket
import ssl
import struct
import time

import pytest

from tests.support.cached import get, plain, seen, start_cached, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.upstream import Upstream

HOST = "one.example.test"
STRANGER, BALANCER = "127.0.0.1", "127.0.0.2"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56789 443\r\n"
ADDRESSES = socket.inet_aton("192.0.2.8") + socket.inet_aton("198.51.100.1") + b"\xdd\xd5\x01\xbb"


def second(command: int, payload: bytes) -> bytes:
    return b"\r\n\r\n\x00\r\nQUIT\n" + struct.pack("!BBH", command, 0x11, len(payload)) + payload


@pytest.fixture
def served(daemon: DaemonProcess, upstream: Upstream) -> DaemonProcess:
    listen = {
        "https": f"127.0.0.1:{daemon.https_port}",
        "http": f"127.0.0.1:{daemon.http_port}",
        "proxy_protocol": ["127.0.0.2"],
    }
    start_cached(daemon, {HOST: upstream.port}, listen=listen, trusted_proxies=["192.0.2.9", "127.0.0.2"])
    return daemon


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, "192.0.2.7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n", "192.0.2.7"),
        (second(0x21, ADDRESSES), "192.0.2.8"),
        (second(0x21, ADDRESSES + b"\x04\x01\x00" + bytes(256)), "192.0.2.8"),
        (second(0x20, ADDRESSES), BALANCER),
        (b"PROXY UNKNOWN\r\n", BALANCER),
    ],
)
def test_the_header_says_who_asks_and_nothing_else_is_taken(served: DaemonProcess, header: bytes, client: str) -> None:
    found = seen(tls(served.https_port, HOST, get(HOST), source=BALANCER, before=header))
    assert found["x-forwarded-for"] == client
    secure = get(HOST, "X-Forwarded-Proto: https")
    found_there = status(plain(served.http_port, secure, source=BALANCER, before=header))
    assert found_there == (200 if client == BALANCER else 308)  # whom the header names is not trusted
    eventually(lambda: f"client={client}" in served.log(), what=served.log)


def test_a_proxy_behind_the_balancer_is_trusted_by_its_own_address(served: DaemonProcess) -> None:
    header = V1.replace(b"192.0.2.7", b"192.0.2.9")
    request = get(HOST, "X-Forwarded-For: 203.0.113.5")
    found = seen(tls(served.https_port, HOST, request, source=BALANCER, before=header))
    assert found["x-forwarded-for"] == "203.0.113.5, 192.0.2.9"


def test_a_listed_peer_without_a_header_is_closed(served: DaemonProcess) -> None:
    with pytest.raises((ConnectionError, ssl.SSLError)):
        tls(served.https_port, HOST, get(HOST), source=BALANCER)
    assert plain(served.http_port, get(HOST), source=BALANCER) == b""
    eventually(lambda: "without a PROXY header" in served.log(), what=served.log)
    assert served.log().count("without a PROXY header") in (1, 2)  # once a minute in each of the processes


def test_a_header_of_somebody_else_is_no_header(served: DaemonProcess) -> None:
    with pytest.raises((ConnectionError, ssl.SSLError)):
        tls(served.https_port, HOST, get(HOST), source=STRANGER, before=V1)
    assert status(plain(served.http_port, V1 + get(HOST), source=STRANGER)) == 400
    assert status(tls(served.https_port, HOST, get(HOST), source=STRANGER)) == 200


def test_a_header_comes_byte_by_byte_or_not_at_all(served: DaemonProcess) -> None:
    for port in (served.https_port, served.http_port):
        with socket.create_connection(("127.0.0.1", port), 10, source_address=(BALANCER, 0)) as silent:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", port), 10, source_address=(BALANCER, 0)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in V1:
                    sock.sendall(bytes([byte]))
                    time.sleep(0.002)
                if port == served.https_port:
                    context = ssl.create_default_context()
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                    sock = context.wrap_socket(sock, server_hostname=HOST)
                sock.sendall(get(HOST))
                assert status(sock.recv(65536)) == (200 if port == served.https_port else 308)
                sock.close()
            assert silent.recv(1) == b""  # its own deadline
            assert 4 < time.monotonic() - began < 8
