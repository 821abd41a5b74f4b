"""A TLS client of one version that says what it likes, and may come again with its session."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cached import get, status
from tests.support.client_certificates import client_context
from tests.support.daemon import DaemonProcess


class TlsClient:
    """A client that comes again with its session, if it has one."""

    def __init__(self, daemon: DaemonProcess, version: str, certificate: Path | None = None) -> None:
        self.context = client_context(version, certificate)
        self.session: ssl.SSLSession | None = None
        self._port = daemon.https_port

    @contextmanager
    def connected(
        self, name: str | None, *, source: str = "127.0.0.1", resumes: bool = False
    ) -> Iterator[ssl.SSLSocket]:
        with socket.create_connection(("127.0.0.1", self._port), 10, source_address=(source, 0)) as raw:
            session = self.session if resumes else None
            with self.context.wrap_socket(raw, server_hostname=name, session=session) as tls:
                yield tls
                self.session = tls.session

    def ask(
        self, name: str | None, host: str | None = None, *, source: str = "127.0.0.1", resumes: bool = False
    ) -> int:
        """Return the status; raises what TLS says."""
        with self.connected(name, source=source, resumes=resumes) as tls:
            tls.sendall(get(host or name or ""))
            received = b""
            while data := tls.recv(65536):
                received += data
            self.resumed = tls.session_reused
            assert received, "the connection was closed without an answer"
            return status(received)


def answered(tls: ssl.SSLSocket) -> int:
    """Read a whole answer; return its status."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += tls.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += tls.recv(65536)
    return status(head)
