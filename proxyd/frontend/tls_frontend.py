"""From an accepted socket to a served connection: hello, certificate, TLS, HTTP."""

import asyncio
import logging
import socket
import ssl

from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.hello_gate import peek_client_hello, refuse
from proxyd.proxy.exchange import Downstream
from proxyd.tls.certificate_table import CertificateTable, Selection

_log = logging.getLogger("proxyd.tls")
_HELLO_SECONDS = 5.0
_HANDSHAKE_SECONDS = 15.0


class TlsFrontend:
    """Serves sockets of the https listeners. Its tasks live in the given group, each with a deadline."""

    def __init__(self, *, table: CertificateTable, h1: H1Frontend, tasks: asyncio.TaskGroup) -> None:
        self._table = table
        self._h1 = h1
        self._tasks = tasks

    def accepted(self, sock: socket.socket) -> None:
        """Take over a connection."""
        self._tasks.create_task(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                hello = await peek_client_hello(sock)
            client = _client(sock)
        except (OSError, TimeoutError):
            sock.close()
            return
        except asyncio.CancelledError:
            sock.close()
            raise
        selection = self._select(hello.server_name) if hello else None
        if selection is None:
            if hello is not None:
                _log.debug(
                    "refused a name that is not served", extra={"server_name": hello.server_name, "client": client}
                )
            refuse(sock, hello)
            return
        downstream = Downstream(client=client, names=selection.certificate.names)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._h1.connection(downstream),
                sock,
                ssl=selection.context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            _log.debug("handshake failed", extra={"host": selection.host, "client": client, "reason": str(error)})
            sock.close()

    def _select(self, server_name: str | None) -> Selection | None:
        try:
            return self._table.select(server_name)
        except ssl.SSLError as error:
            _log.error("OpenSSL rejects a certificate", extra={"host": server_name, "reason": str(error)})
            return None


def _client(sock: socket.socket) -> str:
    return str(sock.getpeername()[0])
