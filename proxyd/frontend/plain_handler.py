"""What port 80 answers: HTTP-01 first, always; then what somebody else takes; else 308 to https."""

import logging
from collections.abc import Callable, Container
from http import HTTPStatus
from time import monotonic

from proxyd.core.host_field import host_of
from proxyd.core.hostname import Hostname
from proxyd.core.redirection import https_location
from proxyd.proxy.answer import send_answer
from proxyd.proxy.exchange import Exchange
from proxyd.proxy.traffic import Traffic

_log = logging.getLogger("proxyd.plain")

_CHALLENGE = b"/.well-known/acme-challenge/"


class PlainHandler:
    """Implements ExchangeHandler. `hosts` may be replaced at any time.

    `takes`: whether somebody else serves the exchange, and does. `count` is told the status of each answer of ours.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Hostname, str], str | None],
        arrived: Callable[[Hostname, str, str, str], None],
        nonce: Callable[[str], str | None],
        takes: Callable[[Exchange], bool],
        traffic: Traffic,
        https_port: Callable[[], int],
        date: Callable[[], bytes],
        count: Callable[[Hostname | None, int], None] = lambda *_: None,
    ) -> None:
        self.hosts: Container[Hostname] = frozenset()
        self._answer = answer
        self._arrived = arrived
        self._nonce = nonce
        self._takes = takes
        self._traffic = traffic
        self._https_port = https_port
        self._date = date
        self._count = count

    def handle(self, exchange: Exchange) -> None:
        """Answer at once, or have it taken."""
        request = exchange.request
        path = request.path.partition(b"?")[0]
        is_challenge = path.startswith(_CHALLENGE)
        if not is_challenge and self._takes(exchange):
            return
        host = host_of(request.authority)
        if host is None or host not in self.hosts:
            self._say(exchange, 421, "this host is not served here\n")
        elif is_challenge:
            self._prove(exchange, host, path.removeprefix(_CHALLENGE).decode("latin-1"))
        else:
            self._traffic.note(host, monotonic())
            port = self._https_port()
            authority = host.authority if port == 443 else f"{host.authority}:{port}"
            location = https_location(authority, request.path)
            self._say(exchange, 308, f"{location.decode()}\n", b"\r\nLocation: " + location)

    def refuse(self, exchange: Exchange, status: int, why: str) -> None:
        """Answer what could not be read; `why` is for the log."""
        _log.debug("refused a request", extra={"client": exchange.downstream.peer, "reason": why})
        self._say(exchange, status, f"{status} {HTTPStatus(status).phrase}\n")

    def _prove(self, exchange: Exchange, host: Hostname, token: str) -> None:
        if (reply := self._nonce(token)) is not None:  # our own look at ourselves: nobody's challenge
            self._say(exchange, 200, reply)
            return
        answer = self._answer(host, token)
        if answer is None:
            self._say(exchange, 404, "no such challenge\n")
            return
        agent = exchange.request.block.user_agent.decode("latin-1")
        self._arrived(host, exchange.downstream.peer, token, agent)
        self._say(exchange, 200, answer)

    def _say(self, exchange: Exchange, status: int, text: str, lines: bytes = b"") -> None:
        self._count(host_of(exchange.request.authority), status)
        send_answer(exchange, status, text.encode(), lines=b"\r\nServer: proxyd%b%b" % (self._date(), lines))
