"""Certificates from a real Pebble, served by the real daemon."""

import json
import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pebble.server import Pebble
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOSTS = ("one.example.test", "two.example.test")


def names(leaf: bytes) -> list[str]:
    extension = x509.load_der_x509_certificate(leaf).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_two_hosts_get_their_own_certificates_and_a_restart_orders_nothing(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure(dict.fromkeys(HOSTS, upstream.port), pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(HOSTS, daemon=daemon)
        leaves = {host: client.leaf(host) for host in HOSTS}
        assert {host: names(leaf) for host, leaf in leaves.items()} == {host: [host] for host in HOSTS}
        assert pebble.orders() == 2
        assert (daemon.cache / HOSTS[0]).stat().st_mode & 0o777 == 0o600
        assert daemon.cache.stat().st_mode & 0o777 == 0o700
        assert daemon.stop() == 0
        daemon.start()
        assert {host: client.leaf(host) for host in HOSTS} == leaves
        assert pebble.orders() == 2
        root = pebble.root()
        daemon.stop()
    daemon.start()  # the CA is down now
    assert HttpsClient(daemon.https_port, root).leaf(HOSTS[1]) == leaves[HOSTS[1]]


def test_renewals_are_seamless(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    host = HOSTS[0]
    with Pebble(
        tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port, lifetime=timedelta(seconds=10)
    ) as pebble:
        daemon.configure({host: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([host], daemon=daemon)
        serials: list[int] = []
        with client.connect(host) as old_connection:
            deadline = time.monotonic() + 30
            while len(set(serials)) < 3:
                assert time.monotonic() < deadline, daemon.log()
                assert client.get(host).startswith(b"HTTP/1.1 200 ")
                serials.append(x509.load_der_x509_certificate(client.leaf(host)).serial_number)
                time.sleep(0.05)
            old_connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert old_connection.recv(15) == b"HTTP/1.1 200 OK"


def test_a_ca_that_refuses_half_of_all_nonces(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(
        tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port, nonce_reject_percent=50
    ) as pebble:
        daemon.configure(dict.fromkeys(HOSTS, upstream.port), pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for(HOSTS, daemon=daemon)
        assert daemon.log().count("the CA refused a nonce") > 3


def test_kill_during_issuance_loses_nothing(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    hosts = [f"host{number}.example.test" for number in range(12)]
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure(dict.fromkeys(hosts, upstream.port), pebble=pebble)
        daemon.start()
        eventually(lambda: (daemon.cache / hosts[0]).exists() or len(list(daemon.cache.glob("host*"))) > 2)
        assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        leftover = daemon.cache / "+proxyd" / "tmp" / "host1.example.test.abc"
        leftover.write_text("half a certificate")
        os.utime(leftover, (0, 0))  # what is young may be another process's
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for(hosts, daemon=daemon)
        assert not leftover.exists()


def test_a_corrupt_file_without_a_copy_is_set_aside_and_only_its_host_is_issued_anew(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure(dict.fromkeys(HOSTS, upstream.port), pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(HOSTS, daemon=daemon)
        untouched = client.leaf(HOSTS[1])
        daemon.stop()
        broken = daemon.cache / HOSTS[0]
        broken.write_bytes(broken.read_bytes()[:500])
        shutil.rmtree(daemon.cache / "+proxyd")
        daemon.start()
        client.wait_for(HOSTS, daemon=daemon)
        assert client.leaf(HOSTS[1]) == untouched
        assert pebble.orders() == 3
        aside = list((daemon.cache / "+proxyd" / "aside").iterdir())
        assert [one.name.split(".2")[0] for one in aside] == [HOSTS[0]]
        assert "set aside" in daemon.log()


def test_port_80_out_of_reach_is_said_with_the_next_try(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=1) as pebble:  # the CA asks where nothing listens
        daemon.configure({HOSTS[0]: upstream.port}, pebble=pebble)
        daemon.start()
        daemon.wait_for("failures=1")
        first, second = [line for line in daemon.log().splitlines() if "no certificate" in line]
        assert "by tls-alpn-01" in first  # nothing listens there either; the other type is tried at once, and only once
        for part in (HOSTS[0], "kind=validation", "by http-01", "port 80", "failures=1", "next_try="):
            assert part in second
        assert daemon.stop() == 0


@pytest.mark.parametrize("server_name", ["unknown.example.test", None])
def test_unknown_or_missing_name_is_refused_by_alert(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, server_name: str | None
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOSTS[0]: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for(HOSTS[:1], daemon=daemon)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", daemon.https_port), 5) as raw,
            pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
        ):
            context.wrap_socket(raw, server_hostname=server_name)
        assert pebble.orders() == 1


def test_requests_and_port_80(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    host = "bücher.example.test"
    wire = "xn--bcher-kva.example.test"
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({host: upstream.port, HOSTS[0]: upstream.port, HOSTS[1]: 1}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([wire, *HOSTS], daemon=daemon)
        answer = client.get(wire, "/a//b?x=%2F&", headers="X-Forwarded-For: 6.6.6.6\r\nX_Forwarded-Proto: evil\r\n")
        seen = json.loads(answer.partition(b"\r\n\r\n")[2])
        headers = {name.lower(): value for name, value in seen["headers"]}
        assert seen["target"] == "/a//b?x=%2F&"
        assert headers["host"] == wire
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "https"
        assert headers["x-forwarded-host"] == wire
        assert "x_forwarded-proto" not in headers
        assert client.get(wire, "/chunked").endswith(b"5\r\nthree\r\n0\r\n\r\n")
        assert client.get(wire.upper()).startswith(b"HTTP/1.1 200 ")
        assert client.get(HOSTS[0], name=HOSTS[1]).startswith(b"HTTP/1.1 421 ")
        assert client.get(HOSTS[0], name="other.example.test").startswith(b"HTTP/1.1 421 ")
        refused = client.get(HOSTS[1])
        assert refused.startswith(b"HTTP/1.1 502 ")
        assert b"Request ID: " in refused
        assert b"127.0.0.1" not in refused
        plain(daemon, client, upstream)


def plain(daemon: DaemonProcess, client: HttpsClient, upstream: Upstream) -> None:
    def ask(path: str, host: str) -> str:
        with socket.create_connection(("127.0.0.1", daemon.http_port), 5) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while data := sock.recv(65536):
                received += data
        return received.decode()

    moved = ask("/a//b?x=%2F&y", f"{HOSTS[0]}:{daemon.http_port}")
    assert moved.startswith("HTTP/1.1 308 ")
    assert f"Location: https://{HOSTS[0]}:{daemon.https_port}/a//b?x=%2F&y\r\n" in moved
    assert (
        ask("//evil.test/%0d%0a", HOSTS[0]).count(f"Location: https://{HOSTS[0]}:{daemon.https_port}//evil.test/") == 1
    )
    assert ask("/", "evil.test").startswith("HTTP/1.1 421 ")
    assert ask("/.well-known/acme-challenge/unknown", HOSTS[0]).startswith("HTTP/1.1 404 ")
    assert ask("/.well-known/acme-challenge/unknown", "evil.test").startswith("HTTP/1.1 421 ")


def test_reload_and_drain(tmp_path: Path, make_daemon: Callable[[], DaemonProcess], upstream: Upstream) -> None:
    daemon = make_daemon()
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOSTS[0]: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(HOSTS[:1], daemon=daemon)
        good = daemon.file.read_text()
        daemon.file.write_text(good + "cahce: /tmp\nwatch: maybe\n")
        daemon.reload()
        daemon.wait_for("did you mean cache?")
        assert f"{daemon.file}:" in daemon.log()
        assert client.get(HOSTS[0]).startswith(b"HTTP/1.1 200 ")
        daemon.configure(dict.fromkeys(HOSTS, upstream.port), pebble=pebble)
        daemon.reload()
        client.wait_for(HOSTS, daemon=daemon)
        with client.connect(HOSTS[0]) as tls:
            tls.sendall(f"GET /large/{64 << 20} HTTP/1.1\r\nHost: {HOSTS[0]}\r\n\r\n".encode())
            received = len(tls.recv(1000))
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGTERM)
            daemon.wait_for("stopping")
            while data := tls.recv(1 << 20):
                received += len(data)
            assert received > 64 << 20
        assert daemon.stop() == 0
