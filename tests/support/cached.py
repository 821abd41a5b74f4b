"""A daemon that has its certificates in its cache, and raw connections to it from chosen addresses of this machine."""

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess, eventually

#: Nobody is there: nothing is ordered, and names that no public CA certifies are accepted.
NO_CA = {"server": "https://127.0.0.1:1/dir"}


def start_cached(
    daemon: DaemonProcess,
    hosts: Mapping[str, Any],
    *,
    prepare: Callable[[], None] | None = None,
    covers_all: bool = False,
    **more: Any,
) -> None:
    """Start it with a self-signed certificate for each host (`covers_all`: one), and wait until all are served."""
    keep_certificates(daemon, *hosts, covers_all=covers_all)
    daemon.configure({**hosts}, acme=NO_CA, **more)
    daemon.start(prepare=prepare)


def keep_certificates(
    daemon: DaemonProcess, *hosts: str, covers_all: bool = False, begin: datetime | None = None
) -> None:
    """Put self-signed certificates of 90 days into the cache; `covers_all`: the same one for all of them."""
    common = make_pem(*hosts, begin=begin) if covers_all else b""
    daemon.cache.mkdir(mode=0o700, exist_ok=True)
    for host in hosts:
        (daemon.cache / host).write_bytes(common or make_pem(host, begin=begin))
        (daemon.cache / host).chmod(0o600)


def reload(daemon: DaemonProcess) -> None:
    """Have it read its file again, and wait until it has."""
    daemon.forget_log()
    daemon.reload()
    eventually(lambda: "reloaded" in daemon.log(), what=daemon.log)


def plain(port: int, request: bytes, *, source: str = "127.0.0.1", before: bytes = b"") -> bytes:
    """Send bytes to a port and return all that comes; empty: the connection was cut."""
    with socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0)) as sock:
        try:
            sock.sendall(before + request)
            return _all(sock)
        except ConnectionError:
            return b""


def head_of(port: int, request: bytes, *, source: str = "127.0.0.1") -> bytes:
    """Send bytes to a port and return the first that come: who refuses a request may read on for a while."""
    with socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0)) as sock:
        sock.sendall(request)
        return sock.recv(65536)


def tls(port: int, name: str | None, request: bytes, *, source: str = "127.0.0.1", before: bytes = b"") -> bytes:
    """Send bytes through TLS, `before` ahead of it, and return all that comes. Raises OSError, as ssl.SSLError."""
    with socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0)) as raw:
        raw.sendall(before)
        with for_anybody().wrap_socket(raw, server_hostname=name) as connection:
            connection.sendall(request)
            return _all(connection)


def tls_leaf(port: int, name: str) -> bytes:
    """Return the certificate that a client is shown, DER."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        for_anybody().wrap_socket(raw, server_hostname=name) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def for_anybody() -> ssl.SSLContext:
    """Return the context of a client that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def get(host: str, *lines: str, path: str = "/") -> bytes:
    """Return a request that is the last on its connection."""
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "Connection: close", "", ""]).encode()


def status(response: bytes) -> int:
    """Return the status of a response; 0: there is none."""
    return int(response.split(b" ", 2)[1]) if response else 0


def seen(response: bytes) -> dict[str, str]:
    """Return the header fields that the echoing upstream saw, by lower-case names."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return {name.lower(): value for name, value in json.loads(body)["headers"]}


def _all(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(65536):
        received += data
    return received
