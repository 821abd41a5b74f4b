"""From an accepted socket to a served connection: hello, certificate, TLS, HTTP."""

import asyncio
import logging
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
from proxyd.frontend.hello_gate import peek_client_hello, refuse
from proxyd.frontend.seats import Seat, Seats
from proxyd.issuance.on_demand import Outcome
from proxyd.proxy.exchange import Downstream
from proxyd.tls.certificate_table import CertificateTable, Selection
from proxyd.tls.challenge_table import ALPN, ChallengeTable

_log = logging.getLogger("proxyd.tls")
_HELLO_SECONDS = 5.0
_HANDSHAKE_SECONDS = 15.0
#: Who closes looks itself whether the client takes the rest: the loop would cut it off in the middle, after 30 s.
_CLOSING_SECONDS = 86_400.0
#: Exactly this list: a client that also speaks HTTP is a browser (RFC 8737 §3).
_VALIDATOR = (ALPN.encode(),)


class TlsFrontend:
    """Serves sockets of the https listeners.

    `cache_read` waits, for a bounded time, until the cache was read for a name; false: it was not. `obtain` waits, for
    a bounded time, for the certificate of a name under a wildcard host; it is given the client's address too.
    `default_for` says which host's certificate a client at an address gets that sends no name; None: it is refused.
    """

    def __init__(
        self,
        *,
        table: CertificateTable,
        challenges: ChallengeTable,
        obtain: Callable[[str | None, str], Awaitable[Outcome]],
        cache_read: Callable[[Hostname], Awaitable[bool]],
        default_for: Callable[[str], Hostname | None],
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
        if hello is not None and hello.alpn == _VALIDATOR:
            await self._prove(sock, hello, client)
            return False
        selection, outcome = self._select(hello, client, reached) if hello else None, Outcome.UNKNOWN
        if selection is None and hello is not None:
            outcome = await self._obtain(sock, hello, client, reached)
            selection = self._select(hello, client, reached) if outcome is Outcome.SERVED else None
        if selection is None:
            if hello is not None:
                _log.debug(
                    "refused a name that is not served", extra={"server_name": hello.server_name, "client": client}
                )
            self._counters.handshakes[_refusal(hello, outcome)] += 1
            refuse(sock, hello, for_now=outcome is not Outcome.UNKNOWN)
            return False
        downstream = Downstream(client=client, names=selection.certificate.names)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: ChosenHttp(
                    lambda: self._h1.connection(downstream, selection.host, left=seat.leave),
                    lambda: self._h2.connection(downstream, selection.host, left=seat.leave),
                ),
                sock,
                ssl=selection.context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_CLOSING_SECONDS,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            _log.debug("handshake failed", extra={"host": selection.host, "client": client, "reason": str(error)})
            self._count_failed(error, "handshake_timeout")
            sock.close()
            return False
        self._counters.handshakes["ok"] += 1
        return True

    async def _obtain(self, sock: socket.socket, hello: ClientHello, client: str, reached: Hostname) -> Outcome:
        """Wait for what the cache may have, or for a name under a wildcard host; the hello stays in the kernel."""
        name = hello.server_name
        try:
            for host in (Hostname.from_wire(name),) if name else (reached, self._default_for(client)):
                if host is not None and not await self._cache_read(host):
                    return Outcome.LATER
                if self._select(hello, client, reached) is not None:
                    return Outcome.SERVED
            return await self._wait(hello.server_name, client)
        except asyncio.CancelledError:
            sock.close()
            raise

    async def _prove(self, sock: socket.socket, hello: ClientHello, client: str) -> None:
        """Show a validator the challenge certificate; nothing is spoken after the handshake (RFC 8737 §3)."""
        context = self._challenges.select(hello.server_name, client)
        self._counters.handshakes["challenge" if context else "refused_name"] += 1
        if context is None:
            refuse(sock, hello)
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

    def _select(self, hello: ClientHello, client: str, reached: Hostname) -> Selection | None:
        default = None if hello.server_name else self._default_for(client)
        try:
            return self._table.select(hello.server_name, reached, default)
        except OSError as error:  # ssl.SSLError, or no descriptor left for the context
            host = hello.server_name or reached
            _log.error("no TLS context for a host", extra={"host": host, "reason": str(error)})
            return None


def _refusal(hello: ClientHello | None, outcome: Outcome) -> Handshake:
    if hello is None:  # something else than TLS
        return "failed"
    return "refused_name" if outcome is Outcome.UNKNOWN else "unavailable"
