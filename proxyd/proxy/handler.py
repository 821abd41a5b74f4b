"""The way of a request: check, route, relay, log."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from proxyd.core.counters import Counters
from proxyd.core.forwarding import asker_of, believed_host, believed_proto, forwarded_lines
from proxyd.core.host_field import host_of
from proxyd.core.hostname import Hostname
from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import Claims
from proxyd.proxy.access_log import AccessLog, AccessRecord
from proxyd.proxy.answer import Answer, send_answer
from proxyd.proxy.error_response import send_error
from proxyd.proxy.exchange import Exchange
from proxyd.proxy.relay import Relay
from proxyd.proxy.snapshot import Site, Snapshot
from proxyd.proxy.traffic import Traffic

_log = logging.getLogger("proxyd.proxy")
_READY = Answer(200, b"ready\n", lines=b"\r\nCache-Control: no-store")
_ELSEWHERE, _TOO_LARGE = Answer(421), Answer(413)


@dataclass(slots=True)
class _Known:
    """What was found out for a Host on a connection, as long as the configuration is this one."""

    snapshot: Snapshot
    authority: bytes
    host: Hostname
    site: Site
    #: Whom a trusted proxy names; None: the peer is none, and nothing of that was read.
    claims: Claims | None
    forwarded: bytes
    #: Something is to be looked at before an upstream is asked.
    is_ruled: bool


class Handler:
    """Serves exchanges. `snapshot` may be replaced at any time; requests under way keep what they began with.

    `date` returns a `Date` line of now. Of the counters a host's own are with its site.
    """

    def __init__(self, traffic: Traffic, *, log: AccessLog, date: Callable[[], bytes], counters: Counters) -> None:
        self.snapshot = Snapshot()
        self._traffic = traffic
        self._log = log
        self._date = date
        self._counters = counters
        self._ids = secrets.token_hex(6)
        self._count = secrets.randbits(24)

    def handle(self, exchange: Exchange) -> None:
        """Begin to serve `exchange`; returns at once."""
        began, request, downstream = monotonic(), exchange.request, exchange.downstream
        request_id = self._request_id()
        known = downstream.known
        if not isinstance(known, _Known) or known.authority != request.authority or known.snapshot is not self.snapshot:
            found = self._find(exchange)
            if found is None:
                downstream.known = None
                answer = _READY if self.snapshot.is_look(request) else _ELSEWHERE
                self._answer(exchange, answer, None, request_id, began)
                return
            known = downstream.known = found
        elif known.claims is not None and known.claims != request.block.claims:
            known = downstream.known = self._told_by_proxy(known, exchange)
        site = known.site
        self._traffic.note(known.host, began)
        if known.is_ruled:
            found_by_rules = self._by_rules(known, exchange)
            if isinstance(found_by_rules, Answer):
                self._answer(exchange, found_by_rules, site, request_id, began)
                return
            site, request = found_by_rules
        if 0 < site.max_body < request.block.body:
            self._counters.hit("max_body")
            self._answer(exchange, _TOO_LARGE, site, request_id, began)
            return
        # By place: names double what it takes to make one.
        Relay(exchange, site, request, known.forwarded, request_id, began, self._date, self._done).start()

    def takes_plain(self, exchange: Exchange) -> bool:
        """Serve what came without TLS and is for us all the same; else return False.

        That is a look whether we are ready, and what a trusted proxy says its client used TLS for.
        """
        if self.snapshot.is_look(exchange.request):
            exchange.downstream.client = exchange.downstream.peer
            self._answer(exchange, _READY, None, self._request_id(), monotonic())
            return True
        is_trusted = self.snapshot.trusted.has(exchange.downstream.peer)
        if not is_trusted or believed_proto(exchange.request.block.claims, b"http") != b"https":
            return False
        self.handle(exchange)
        return True

    def refuse(self, exchange: Exchange, status: int, why: str) -> None:
        """Answer what could not be read; `why` is for the log, by the id that the client saw."""
        client, request_id = exchange.downstream.peer, self._request_id()
        exchange.downstream.client = client
        _log.debug("refused a request", extra={"client": client, "reason": why, "request_id": request_id})
        self._answer(exchange, Answer(status), None, request_id, monotonic())

    def count(self, host: Hostname | None, status: int) -> None:
        """Count an answer that somebody else gave for a host."""
        site = self.snapshot.sites.get(host) if host is not None else None
        (self._counters.elsewhere if site is None else site.counts)[status // 100] += 1

    def _by_rules(self, known: _Known, exchange: Exchange) -> Answer | tuple[Site, RequestHead]:
        request = exchange.request
        if known.snapshot.is_look(request):
            return _READY
        site, authority = known.site, known.authority
        if site.rules is None:
            return site, request
        if known.claims is not None:
            authority = believed_host(known.claims, authority)
        return site.rules.apply(site, request, client=exchange.downstream.client, authority=authority)

    def _find(self, exchange: Exchange) -> _Known | None:
        snapshot, downstream, authority = self.snapshot, exchange.downstream, exchange.request.authority
        host = host_of(authority)
        site = snapshot.sites.get(host) if host is not None else None
        downstream.client = downstream.peer
        is_trusted = snapshot.trusted.has(downstream.peer)
        if host is None or site is None:
            return None
        if not downstream.covers(host) and (not is_trusted or site.needs_own_connection):
            return None
        if exchange.request.version == 20 and not site.http2 and not is_trusted:  # it came by the connection of another
            return None
        is_ruled = site.rules is not None or snapshot.ready_path is not None
        if is_trusted:
            return self._told_by_proxy(_Known(snapshot, authority, host, site, Claims(), b"", is_ruled), exchange)
        lines = forwarded_lines(client=downstream.peer, host=authority, proto=downstream.proto)
        return _Known(snapshot, authority, host, site, None, lines, is_ruled)

    def _told_by_proxy(self, known: _Known, exchange: Exchange) -> _Known:
        """Return the same for what a trusted proxy says of this request."""
        claims, downstream = exchange.request.block.claims, exchange.downstream
        asker = asker_of(downstream.peer, claims.x_forwarded_for, known.snapshot.trusted)
        downstream.client = asker.client
        lines = forwarded_lines(
            client=asker.client,
            host=believed_host(claims, known.authority),
            proto=believed_proto(claims, downstream.proto),
            through=asker.through,
        )
        return _Known(known.snapshot, known.authority, known.host, known.site, claims, lines, known.is_ruled)

    def _request_id(self) -> str:
        self._counters.begun += 1  # each request has one
        self._count = (self._count + 1) & 0xFFFFFFFF
        return f"{self._ids}{self._count:08x}"

    def _answer(self, exchange: Exchange, answer: Answer, site: Site | None, request_id: str, began: float) -> None:
        status, body, content_type, lines = answer
        lines += self._date()
        if body:
            send_answer(exchange, status, body, content_type=content_type, lines=lines)
        else:
            send_error(exchange, status, request_id, lines=lines)
        self._record(exchange, site, status, len(body), request_id, began)

    def _done(self, relay: Relay) -> None:
        self._record(relay.exchange, relay.site, relay.status, relay.sent, relay.request_id, relay.began)

    def _record(
        self,
        exchange: Exchange,
        site: Site | None,
        status: int,
        sent: int,
        request_id: str,
        began: float,
    ) -> None:
        now = monotonic()
        self._counters.ended(self._counters.elsewhere if site is None else site.counts, status, now - began, sent)
        if not self.snapshot.access_log:
            return
        self._log.record(
            AccessRecord(
                now,
                now - began,
                None if site is None else site.host,
                exchange.downstream.client,
                exchange.request,
                status,
                sent,
                request_id,
            )
        )
