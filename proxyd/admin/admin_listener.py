"""The port for operators: /status for them, /metrics, /status.json, /healthz, /readyz for their machines; one request a
connection.
"""

import asyncio
import ipaddress
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from proxyd.admin.host_filter import HostFilter
from proxyd.admin.page_frame import POLICY
from proxyd.config.values import ListenAddress
from proxyd.frontend.listener import Listener, ListenError, address_of, bind, local_address_of, shared

_log = logging.getLogger("proxyd.admin")
#: aiohttp would write a traceback of whatever its parser refuses.
_SILENT = logging.Logger("aiohttp", logging.CRITICAL)
_MOST_CONNECTIONS = 64
_CONNECTION_SECONDS = 30.0  # in all, whatever the client does
_ANSWER_SECONDS = 20.0
_STOP_SECONDS = 1.0
_HEADERS = {
    "Server": "proxyd",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

#: What listens for each address.
Bound = dict[ListenAddress, Sequence[socket.socket]]

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages(Protocol):
    """What is shown. May take seconds; the caller bounds them."""

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type, by the Accept field of who asks."""
        ...

    async def overview(self, asked: HostFilter) -> str:
        """Return the page of all hosts, as HTML."""
        ...

    async def host(self, name: str) -> tuple[str, bool]:
        """Return the page of a host, as HTML, and whether it is served here."""
        ...

    async def status(self) -> Mapping[str, Any]:
        """Return what `proxyd status --json` shows."""
        ...

    async def not_ready(self) -> str | None:
        """Return why this daemon should get no traffic now, or None."""
        ...


class AdminListener:
    """Trouble with its addresses is logged and never reaches the serving. `names`: of this machine, in lower case."""

    def __init__(self, pages: Pages, *, names: Collection[str] = ()) -> None:
        self._pages = pages
        self._wanted: Sequence[ListenAddress] = ()
        self._sockets: Bound = {}
        self._listeners: dict[socket.socket, Listener] = {}
        self._connecting: asyncio.TaskGroup | None = None
        self._names = names
        app = web.Application(middlewares=[self._guarded])
        app.router.add_get("/", self._root)
        app.router.add_get("/status", self._overview)
        app.router.add_get("/status/{host}", self._host)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status.json", self._status)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, logger=_SILENT, shutdown_timeout=_STOP_SECONDS)

    def listen(self, addresses: Sequence[ListenAddress]) -> None:
        """Bind what can be had; never raises ListenError."""
        self._wanted = addresses
        self._sockets = self.changed(addresses)
        if self._sockets:
            _log.info("admin pages", extra={"address": ", ".join(map(address_of, _all(self._sockets)))})

    def changed(self, addresses: Sequence[ListenAddress]) -> Bound:
        """Return what listens on the addresses, to be used or dropped. Raises ListenError for one that is new.

        One that could not be had before is tried again, and that it cannot is logged.
        """
        found: Bound = {}
        try:
            for address in addresses:
                try:
                    found[address] = self._sockets.get(address) or self._bound(address)
                except ListenError as error:
                    if address not in self._wanted:
                        raise
                    _log.error(
                        "no metrics and health pages at an address; all else is served all the same",
                        extra={"reason": str(error)},
                    )
        except ListenError:
            self.drop(found)
            raise
        return found

    def use(self, addresses: Sequence[ListenAddress], found: Bound) -> None:
        """Listen on what `changed` returned for the addresses, and no more on others."""
        before, self._sockets, self._wanted = self._sockets, found, addresses
        if before == found:
            return
        self._start_new()
        for sock in {*_all(before)} - {*_all(found)}:
            if listener := self._listeners.pop(sock, None):
                listener.stop()
            sock.close()
        _log.info("admin pages", extra={"address": ", ".join(map(address_of, _all(found))) or "nothing"})

    def drop(self, found: Bound) -> None:
        """Close what `changed` returned and nobody uses."""
        for sock in {*_all(found)} - {*_all(self._sockets)}:
            sock.close()

    @property
    def local_address(self) -> tuple[str, int]:
        """Return where a client on this machine reaches the first."""
        return local_address_of(_all(self._sockets)[0])

    async def run(self) -> None:
        """Answer for ever. Ends only by cancellation, or with a line in the log: never with an error."""
        try:
            await self._serve()
        except Exception:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
            _log.exception("the admin pages ended; all else is served all the same; this is a bug of proxyd")

    async def _serve(self) -> None:
        await self._runner.setup()
        try:
            async with asyncio.TaskGroup() as self._connecting:
                self._start_new()
                await asyncio.get_running_loop().create_future()
        finally:
            for listener in self._listeners.values():
                listener.stop()
            await self._runner.cleanup()

    def _bound(self, address: ListenAddress) -> Sequence[socket.socket]:
        ours = [sock for sock in _all(self._sockets) if address.port and sock.getsockname()[1] == address.port]
        with shared(ours):
            return bind(address, key="admin.listen", shares=bool(ours))[0]

    def _start_new(self) -> None:
        if self._connecting is not None:
            for sock in _all(self._sockets):
                if sock not in self._listeners:
                    self._listeners[sock] = Listener(sock, self._accepted)
                    self._listeners[sock].start()

    def _accepted(self, sock: socket.socket) -> None:
        server = self._runner.server
        if self._connecting is None or server is None or len(server.connections) >= _MOST_CONNECTIONS:
            sock.close()
        else:
            self._connecting.create_task(_connect(sock, server))

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Whatever happens, there is an answer, and it is the last one on its connection."""
        try:
            response = await self._answer(request, handler)
        except web.HTTPException as error:
            response = web.Response(
                text=f"{error.status} {error.reason}\n", status=error.status, headers=_allowed(error)
            )
        except TimeoutError:
            response = web.Response(text="this took too long\n", status=503)
        except Exception:  # noqa: BLE001 - the root of this request
            _log.exception("an admin page failed; this is a bug of proxyd", extra={"path": request.path})
            response = web.Response(text="see the log of the daemon\n", status=500)
        response.headers.update(_HEADERS)
        response.force_close()  # a client that stays could be cut in the middle of an answer by the deadline of all
        return response

    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not is_ours(request.headers.get("Host"), self._names):
            text = "ask by an IP address, as localhost, or by the host name of this machine\n"
            return web.Response(text=text, status=421)
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await handler(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._pages.metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _root(self, _request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/status"})

    async def _overview(self, request: web.Request) -> web.Response:
        return _page(await self._pages.overview(HostFilter.read(request.query)))

    async def _host(self, request: web.Request) -> web.Response:
        text, is_served = await self._pages.host(request.match_info["host"])
        return _page(text, status=200 if is_served else 404)

    async def _status(self, _request: web.Request) -> web.Response:
        document = await self._pages.status()
        body = await asyncio.to_thread(lambda: json.dumps(document).encode() + b"\n")  # 10,000 hosts are megabytes
        return web.Response(body=body, content_type="application/json")

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = await self._pages.not_ready()
        return web.Response(text=f"{reason}\n", status=503) if reason else web.Response(text="ready\n")


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers={"Content-Security-Policy": POLICY})


def _all(bound: Bound) -> list[socket.socket]:
    return [sock for sockets in bound.values() for sock in sockets]


async def _connect(sock: socket.socket, server: web.Server) -> None:
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.connect_accepted_socket(server, sock)
    except Exception as error:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
        _log.debug("an admin connection could not be served", extra={"reason": str(error)})
        sock.close()
    else:
        loop.call_later(_CONNECTION_SECONDS, transport.abort)


def _allowed(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


#: No domain that somebody can register.
_SINGLE_LABEL = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")


def is_ours(host: str | None, names: Collection[str] = ()) -> bool:
    """Return whether a Host field is none that a foreign page could have a browser send (DNS rebinding).

    That is an IP address, a name without a dot (`localhost`, a container's), or a name of this machine: nobody else's
    page has them. Who sends none is no browser.
    """
    if host is None:
        return True
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if _SINGLE_LABEL.fullmatch(name) or name.lower() in names:
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True
