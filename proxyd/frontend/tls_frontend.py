"""From an accepted socket to a served connection: hello, certificate, TLS, HTTP."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable

from proxyd.core.client_hello import ClientHello
from proxyd.core.counters import Counters, Handshake, Limit
from proxyd.core.hostname import Hostname
from proxyd.frontend.arrival import ArrivalGate
from proxyd.frontend.arriving import Arriving
from proxyd.frontend.chosen_http import ChosenHttp
from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.h2.frontend import H2Frontend
from proxyd.frontend.hello_gate import (
    INTERNAL_ERROR,
    NO_APPLICATION_PROTOCOL,
    UNEXPECTED_MESSAGE,
    UNRECOGNIZED_NAME,
    peek_client_hello,
    refuse,
    say_last,
)
from proxyd.frontend.seats import Seat, Seats
from proxyd.issuance.on_demand import Outcome
from proxyd.proxy.exchange import Downstream
from proxyd.tls.certificate_table import CertificateTable, Selection
from proxyd.tls.challenge_table import ALPN, ChallengeTable
from proxyd.tls.server_object import client_fault, unsent

_log = logging.getLogger("proxyd.tls")
_HELLO_SECONDS = 5.0
_HANDSHAKE_SECONDS = 15.0
#: So long a client may take to read why its handshake failed.
_LAST_SECONDS = 1.0
#: Who closes looks itself whether the client takes the rest: the loop would cut it off in the middle, after 30 s.
_CLOSING_SECONDS = 86_400.0
#: Exactly this list: a client that also speaks HTTP is a browser (RFC 8737 §3).
_VALIDATOR = (ALPN.encode(),)


class TlsFrontend:
    """Serves sockets of the https listeners.

    `cache_read` waits, for a bounded time, until the cache was read for a name; false: it was not. `obtain` waits, for
    a bounded time, for the certificate of a name under a wildcard host; it is given the client's address too.
    `default_for` says whose certificate a client at an address gets that sends no name, or one that is not served;
    None: it is refused.
    """

    def __init__(
        self,
        *,
        table: CertificateTable,
        challenges: ChallengeTable,
        obtain: Callable[[str | None, str], Awaitable[Outcome]],
        cache_read: Callable[[Hostname], Awaitable[bool]],
        default_for: Callable[[str, str | None], Hostname | None],
        gate: ArrivalGate,
        seats: Seats,
        h1: H1Frontend,
        h2: H2Frontend,
        counters: Counters,
        arriving: Arriving,
    ) -> None:
        self._table = table
        self._challenges = challenges
        self._wait = obtain
        self._cache_read = cache_read
        self._default_for = default_for
        self._gate = gate
        self._seats = seats
        self._h1 = h1
        self._h2 = h2
        self._counters = counters
        self._arriving = arriving

    def accepted(self, sock: socket.socket) -> None:
        """Take over a connection."""
        if seat := self._seats.take("https"):
            self._arriving.begin(self._guarded(sock, seat))
        else:
            sock.close()

    async def _guarded(self, sock: socket.socket, seat: Seat) -> None:
        """One connection's trouble stays its own: an error that left this task would end the daemon."""
        is_served = False
        try:
            is_served = await self._serve(sock, seat)
        except Exception:  # noqa: BLE001 - the root of this task
            _log.exception("a connection failed in an unforeseen way: closed")
            sock.close()
        finally:
            if not is_served:
                seat.leave()

    async def _serve(self, sock: socket.socket, seat: Seat) -> bool:
        """Return whether it is served: then the end of the connection gives back its seat."""
        try:
            arrival = await self._gate.arrival(sock)
            if arrival is None or not seat.sit(arrival.client):
                sock.close()
                return False
            hello = await peek_client_hello(sock, seconds=_HELLO_SECONDS)
        except (OSError, TimeoutError) as error:
            self._count_failed(error, "hello_timeout")
            sock.close()
            return False
        except asyncio.CancelledError:
            sock.close()
            raise
        client, reached = arrival
        if hello is None:  # something else than TLS
            return self._refuse(sock, UNEXPECTED_MESSAGE, "failed")
        if hello.alpn == _VALIDATOR:
            await self._prove(sock, hello, client)
            return False
        selection, outcome = self._select(hello, reached), Outcome.UNKNOWN
        if selection is None:
            try:
                selection, outcome = await self._obtain(hello, client, reached)
            except asyncio.CancelledError:
                sock.close()
                raise
        if selection is None:
            _log.debug("refused a name that is not served", extra={"server_name": hello.server_name, "client": client})
            if outcome is Outcome.UNKNOWN:
                return self._refuse(sock, UNRECOGNIZED_NAME, "refused_name")
            return self._refuse(sock, INTERNAL_ERROR, "unavailable")
        if not _speaks_http(hello, selection):
            extra = {"host": selection.host, "client": client, "reason": "it speaks no HTTP that is offered (ALPN)"}
            _log.debug("handshake failed", extra=extra)
            return self._refuse(sock, NO_APPLICATION_PROTOCOL, "failed")
        return await self._shake_hands(sock, selection, client, seat)

    async def _shake_hands(self, sock: socket.socket, selection: Selection, client: str, seat: Seat) -> bool:
        downstream = Downstream(
            client=client, names=selection.certificate.names, host=selection.host, policy=selection.policy
        )
        kept = -1
        try:
            kept = os.dup(sock.fileno())  # the loop closes its own before a client was told why
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: ChosenHttp(
                    downstream,
                    lambda: self._h1.connection(downstream, left=seat.leave),
                    lambda: self._h2.connection(downstream, left=seat.leave),
                ),
                sock,
                ssl=selection.context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_CLOSING_SECONDS,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            self._tell_failed(selection, client, error)
            sock.close()
            if last := unsent(error):
                ours, kept = socket.socket(fileno=kept), -1
                await say_last(ours, last, seconds=_LAST_SECONDS)
            return False
        finally:
            if kept >= 0:
                os.close(kept)
        self._counters.handshakes["ok"] += 1
        return True

    def _refuse(self, sock: socket.socket, alert: bytes, counted: Handshake) -> bool:
        """Close with an alert; return that the connection is not served."""
        self._counters.handshakes[counted] += 1
        refuse(sock, alert)
        return False

    def _tell_failed(self, selection: Selection, client: str, error: OSError) -> None:
        if selection.policy.asks and (why := client_fault(error)) is not None:
            fields = {"host": selection.host, "client": client, "reason": why}
            _log.info("refused a client's certificate", extra=fields)
            self._counters.handshakes["refused_client"] += 1
            return
        _log.debug("handshake failed", extra={"host": selection.host, "client": client, "reason": str(error)})
        self._count_failed(error, "handshake_timeout")

    async def _obtain(self, hello: ClientHello, client: str, reached: Hostname) -> tuple[Selection | None, Outcome]:
        """Wait for what the cache may have, or for a name under a wildcard host; the hello stays in the kernel.

        Then for whose certificate a client gets that sends no name, or may send any.
        """
        name = hello.server_name
        own = Hostname.from_wire(name) if name else reached
        if own is not None and not await self._cache_read(own):
            return None, Outcome.LATER
        if (selection := self._select(hello, reached)) is not None:
            return selection, Outcome.SERVED
        outcome = await self._wait(name, client)
        if outcome is Outcome.SERVED:
            return self._select(hello, reached), outcome
        default = self._default_for(client, name)
        if outcome is not Outcome.UNKNOWN or default is None:
            return None, outcome
        if not await self._cache_read(default):
            return None, Outcome.LATER
        return self._select(hello, reached, default), outcome

    async def _prove(self, sock: socket.socket, hello: ClientHello, client: str) -> None:
        """Show a validator the challenge certificate; nothing is spoken after the handshake (RFC 8737 §3)."""
        context = self._challenges.select(hello.server_name, client)
        self._counters.handshakes["challenge" if context else "refused_name"] += 1
        if context is None:
            refuse(sock, UNRECOGNIZED_NAME)
            return
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                asyncio.Protocol, sock, ssl=context, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except (OSError, TimeoutError) as error:
            _log.debug("a validator left", extra={"server_name": hello.server_name, "reason": str(error)})
            sock.close()
            return
        transport.close()

    def _count_failed(self, error: OSError, limit: Limit) -> None:
        """The errors of deadlines have no number; the handshake's is a ConnectionAbortedError, in both loops."""
        is_late = error.errno is None and isinstance(error, TimeoutError | ConnectionAbortedError)
        self._counters.handshakes["timeout" if is_late else "failed"] += 1
        self._counters.hit(limit if is_late else None)

    def _select(self, hello: ClientHello, reached: Hostname, default: Hostname | None = None) -> Selection | None:
        """Return what serves a client; `default`: after all else was looked for."""
        try:
            if hello.server_name and default is not None:
                return self._table.select_for_any_name(default)
            return self._table.select(hello.server_name, reached, default)
        except OSError as error:  # ssl.SSLError, or no descriptor left for the context
            host = hello.server_name or reached
            _log.error("no TLS context for a host", extra={"host": host, "reason": str(error)})
            return None


def _speaks_http(hello: ClientHello, selection: Selection) -> bool:
    """RFC 7301 §3.2: Python's TLS would go on without a protocol."""
    return not hello.alpn or any(one in hello.alpn for one in selection.policy.protocols)
