"""Who is at the other end of an accepted socket, and where it came in: the socket's word, or a PROXY header's."""

import asyncio
import logging
import socket
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from proxyd.core.counters import Limit
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.core.proxy_protocol import FIRST_BYTES, MAX_BYTES, NotProxyHeader, ProxyHeader, parse
from proxyd.frontend.peek import peek

_log = logging.getLogger("proxyd.listener")
_HEADER_SECONDS = 5.0
_TELL_AGAIN = 60.0


class Arrival(NamedTuple):
    """The client's address, and the one it reached."""

    client: str
    reached: Hostname


class ArrivalGate:
    """`balancers` are the peers whose connections start with a PROXY header. `hit` is told of one that never came."""

    def __init__(self, balancers: Networks, *, hit: Callable[[Limit], None] = lambda _: None) -> None:
        self._balancers = balancers
        self._hit = hit
        self._told_at = float("-inf")

    async def arrival(self, sock: socket.socket) -> Arrival | None:
        """Return who came; a PROXY header is taken off the socket, and nothing else. None: close it.

        The time for a header is bounded here. Raises OSError when the client is gone.
        """
        peer = Hostname.from_socket(sock.getpeername()[0]).text
        reached = Hostname.from_socket(sock.getsockname()[0])
        if not self._balancers.has(peer):
            return Arrival(peer, reached)
        try:
            async with asyncio.timeout(_HEADER_SECONDS):
                header = await _header(sock)
        except TimeoutError:
            self._hit("proxy_header_timeout")
            self._tell(peer, f"none came within {_HEADER_SECONDS:g} s")
            return None
        except NotProxyHeader as error:
            self._tell(peer, str(error))
            return None
        if header.source is None or header.destination is None:
            return Arrival(peer, reached)
        return Arrival(header.source, Hostname(header.destination))

    def _tell(self, peer: str, why: str) -> None:
        """Say so now and then: with a balancer that is set up otherwise every connection fails."""
        if (now := monotonic()) - self._told_at >= _TELL_AGAIN:
            self._told_at = now
            _log.warning(
                "closed a connection of listen.proxy_protocol without a PROXY header",
                extra={"client": peer, "reason": why, "next": "have it send one, or take it from the list"},
            )


async def _header(sock: socket.socket) -> ProxyHeader:
    """Take a header off the socket. Raises NotProxyHeader, ConnectionError when the client left before its end."""
    need = FIRST_BYTES
    while True:
        data = await peek(sock, need, most=MAX_BYTES)
        found = parse(data)
        if isinstance(found, ProxyHeader):
            sock.recv(found.length)  # it lies there whole
            return found
        if len(data) < need:
            raise ConnectionResetError("the client left during its PROXY header")
        need = found.total
