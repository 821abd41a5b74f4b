"""Certificates for IP addresses (RFC 8738)."""

import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from pebble.server import Pebble
from tests.support.daemon import DaemonProcess, eventually
from tests.support.upstream import Upstream

HOST = "one.example.test"


def connect(address: str, port: int, root: bytes, *, server_name: str | None = None) -> ssl.SSLSocket:
    """Verify as browsers do: the address must be in the certificate; it is never sent as SNI."""
    context = ssl.create_default_context(cadata=root.decode())
    raw = socket.create_connection((address, port), timeout=10)
    try:
        return context.wrap_socket(raw, server_hostname=server_name or address)
    except BaseException:
        raw.close()
        raise


def serves(address: str, port: int, root: bytes, *, server_name: str | None = None) -> bool:
    try:
        connect(address, port, root, server_name=server_name).close()
    except OSError:
        return False
    return True


def get(tls: ssl.SSLSocket, host: str) -> bytes:
    tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    received = b""
    while data := tls.recv(65536):
        received += data
    return received


@pytest.mark.parametrize("kind", ["tls-alpn-01", "http-01"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_is_proved_and_served_to_clients_without_sni(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, address: str, kind: str
) -> None:
    bracketed = f"[{address}]" if ":" in address else address
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        listen = {
            "https": [f"127.0.0.1:{daemon.https_port}", f"[::1]:{daemon.https_port}"],
            "http": [f"127.0.0.1:{daemon.http_port}", f"[::1]:{daemon.http_port}"],
        }
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle), "challenges": [kind]}
        daemon.configure({address: upstream.port, HOST: upstream.port}, acme=acme, listen=listen)
        daemon.start()
        root = pebble.root()
        eventually(lambda: serves(address, daemon.https_port, root), what=daemon.log)
        with connect(address, daemon.https_port, root) as tls:
            leaf = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == [address]
            assert get(tls, f"{bracketed}:{daemon.https_port}").startswith(b"HTTP/1.1 200 ")
        with connect(address, daemon.https_port, root) as tls:
            assert get(tls, HOST).startswith(b"HTTP/1.1 421 ")
        eventually(lambda: serves(address, daemon.https_port, root, server_name=HOST), what=daemon.log)
        with connect(address, daemon.https_port, root, server_name=HOST) as tls:  # names are served as ever
            assert get(tls, HOST).startswith(b"HTTP/1.1 200 ")
        daemon.wait_for("certificate issued")
        assert "not confirmed" not in daemon.log()
        moved = plain(address, daemon.http_port, bracketed)
        assert f"Location: https://{bracketed}:{daemon.https_port}/\r\n".encode() in moved


def plain(address: str, port: int, host: str) -> bytes:
    with socket.create_connection((address, port), 5) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while data := sock.recv(65536):
            received += data
    return received


def test_an_address_that_is_not_listed_is_refused_without_sni(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    """127.0.0.2 reaches the same listener, but the certificate is for 127.0.0.1."""
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        listen = {"https": f"0.0.0.0:{daemon.https_port}", "http": f"0.0.0.0:{daemon.http_port}"}
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle)}
        daemon.configure({"127.0.0.1": upstream.port}, acme=acme, listen=listen)
        daemon.start()
        root = pebble.root()
        eventually(lambda: serves("127.0.0.1", daemon.https_port, root), what=daemon.log)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.2", daemon.https_port), 5) as raw,
            pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
        ):
            context.wrap_socket(raw)
