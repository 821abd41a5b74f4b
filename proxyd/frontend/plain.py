"""Port 80: HTTP-01 answers first, then 308 to https, for listed hosts only."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Container
from urllib.parse import quote

from aiohttp import web

from proxyd.core.hostname import Hostname
from proxyd.core.request_target import InvalidTarget, RequestTarget
from proxyd.proxy.traffic import Traffic

_log = logging.getLogger("proxyd.plain")
_CHALLENGE = b"/.well-known/acme-challenge/"
_KEEPALIVE_SECONDS = 10.0


class PlainFrontend:
    """Serves sockets of the http listeners. `hosts` may be replaced at any time."""

    def __init__(
        self,
        *,
        answer: Callable[[Hostname, str], str | None],
        arrived: Callable[[Hostname, str, str, str], None],
        nonce: Callable[[str], str | None],
        traffic: Traffic,
        https_port: Callable[[], int],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.hosts: Container[Hostname] = frozenset()
        self._answer = answer
        self._arrived = arrived
        self._nonce = nonce
        self._traffic = traffic
        self._https_port = https_port
        self._tasks = tasks
        self._server = web.Server(
            self._serve, access_log=None, logger=_log, keepalive_timeout=_KEEPALIVE_SECONDS, max_headers=100
        )

    def accepted(self, sock: socket.socket) -> None:
        """Take over a connection."""
        self._tasks.create_task(self._connect(sock))

    async def drain(self) -> None:
        """Close all connections; answers are short."""
        await self._server.shutdown(1.0)

    async def _connect(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._server, sock)
        except Exception as error:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
            _log.debug("a connection could not be served", extra={"reason": str(error)})
            sock.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            raw = request.raw_path.encode("utf-8", "surrogateescape")
            target = RequestTarget.parse(request.method, raw, request.raw_headers)
        except InvalidTarget as error:
            return _text(error.status, str(error))
        if target.host not in self.hosts:
            return _text(421, "this host is not served here")
        path, _, _query = target.path.partition(b"?")
        if path.startswith(_CHALLENGE):
            token = path.removeprefix(_CHALLENGE).decode("latin-1")
            if (reply := self._nonce(token)) is not None:  # our own look at ourselves: nobody's challenge
                return _text(200, reply, newline=False)
            answer = self._answer(target.host, token)
            if answer is not None:
                agent = request.headers.get("User-Agent", "")
                self._arrived(target.host, request.remote or "", token, agent)
            return _text(404, "no such challenge") if answer is None else _text(200, answer, newline=False)
        self._traffic.note(target.host, time.monotonic())
        port = self._https_port()
        authority = target.host.authority if port == 443 else f"{target.host.authority}:{port}"
        where = b"/" if target.path == b"*" else target.path
        # Only bytes that no client can mistake for the end of the header stay as they are.
        location = f"https://{authority}{quote(where, safe='/?#[]@!$&()*+,;=:%~-._{}|^`')}"
        response = _text(308, location)
        response.headers["Location"] = location
        return response


def _text(status: int, text: str, *, newline: bool = True) -> web.Response:
    body = text + ("\n" if newline else "")
    response = web.Response(status=status, text=body, headers={"Server": "proxyd"})
    if status >= 400:
        response.force_close()
    return response
