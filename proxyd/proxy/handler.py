"""The way of a request: check, route, relay, log."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic

from proxyd.core.counters import Counters
from proxyd.core.forwarding import asker_of, believed_host, believed_proto, forwarded_lines
from proxyd.core.host_field import host_of
from proxyd.core.hostname import Hostname
from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import Claims
from proxyd.proxy.access_log import AccessLog
from proxyd.proxy.answer import Answer, send_answer
from proxyd.proxy.client_access import Caller
from proxyd.proxy.error_response import send_error
from proxyd.proxy.exchange import Downstream, Exchange
from proxyd.proxy.gate import Gate, Verdict, Visit
from proxyd.proxy.relay import Relay
from proxyd.proxy.snapshot import Site, Snapshot
from proxyd.proxy.traffic import Traffic

_log = logging.getLogger("proxyd.proxy")
_READY = Answer(200, b"ready\n", lines=b"\r\nCache-Control: no-store")
_ELSEWHERE, _TOO_LARGE = Answer(421), Answer(413)
_STRANGER, _UNVERIFIABLE = Answer(403), Answer(503)
#: Written down for who left without an answer.
_LEFT = 499
#: Of request ids: to write a whole one out each time takes three times as long.
_ENDS = tuple(f"{number:02x}" for number in range(256))
_ANYBODY = Caller(b"", is_admitted=True)


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
    caller: Caller = _ANYBODY

    @property
    def asked_as(self) -> bytes:
        """Return what the client knows this host as."""
        return self.authority if self.claims is None else believed_host(self.claims, self.authority)


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
        self._ids = self._prefix = secrets.token_hex(6)
        self._count = secrets.randbits(24) | 0xFF

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
            found_by_rules = self._by_rules(known, exchange, request_id, began)
            if found_by_rules is None:
                return
            if isinstance(found_by_rules, Answer):
                self._answer(exchange, found_by_rules, site, request_id, began)
                return
            site, request = found_by_rules
        if 0 < site.max_body < request.block.body:
            self._counters.hit("max_body")
            self._answer(exchange, _TOO_LARGE, site, request_id, began)
            return
        # By place: names double what it takes to make one.
        Relay(exchange, site, request, known.forwarded, request_id, began, self._date, self._record).start()

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

    def keeps(self, authority: bytes, downstream: Downstream) -> bool:
        """Return whether what is under way for an authority may go on: its host is served, and knows the client."""
        host = host_of(authority)
        site = self.snapshot.sites.get(host) if host is not None else None
        return site is not None and site.keeps(downstream)

    def count(self, host: Hostname | None, status: int) -> None:
        """Count an answer that somebody else gave for a host."""
        site = self.snapshot.sites.get(host) if host is not None else None
        (self._counters.elsewhere if site is None else site.counts)[status // 100] += 1

    def _by_rules(
        self, known: _Known, exchange: Exchange, request_id: str, began: float
    ) -> Answer | tuple[Site, RequestHead] | None:
        """Return what a host's rules say, or None: guards are asked, and the request goes on when they know."""
        request = exchange.request
        if known.snapshot.is_look(request):
            return _READY
        site, rules = known.site, known.site.rules
        if site.policy.is_broken:
            return _UNVERIFIABLE
        if not known.caller.is_admitted:
            self._turned_away(known, exchange)
            return _STRANGER
        if rules is None:
            return site, request
        client = exchange.downstream.client
        if (refusal := rules.refusal(site, client, began)) is not None:
            return refusal
        if rules.guards:
            if 0 < site.max_body < request.block.body:  # whoever asks
                self._counters.hit("max_body")
                return _TOO_LARGE
            visit = Visit(request, site.host, client, known.forwarded, request_id)
            told = partial(self._told_by_guards, known, exchange, request_id, began)
            Gate(exchange, visit, rules.guards, told).start()
            return None
        return rules.route(site, request, known.asked_as)

    def _told_by_guards(
        self, known: _Known, exchange: Exchange, request_id: str, began: float, verdict: Verdict | None
    ) -> None:
        """Go on with a request of which the guards know whether it may."""
        site, rules = known.site, known.site.rules
        if verdict is None:
            self._record(exchange, site, _LEFT, 0, request_id, began)
            return
        if isinstance(verdict, Answer):
            self._answer(exchange, verdict, site, request_id, began)
            return
        assert rules is not None  # whose guards told
        found, user, lines = rules.route(site, verdict.request, known.asked_as), verdict.user, verdict.lines
        if isinstance(found, Answer):
            self._answer(exchange, found._replace(lines=found.lines + lines), site, request_id, began, user)
            return
        site, request = found
        done = partial(self._record, user=user)
        site = site.telling(lines) if lines else site
        Relay(exchange, site, request, known.forwarded, request_id, began, self._date, done).start()

    def _find(self, exchange: Exchange) -> _Known | None:
        snapshot, downstream, authority = self.snapshot, exchange.downstream, exchange.request.authority
        host = host_of(authority)
        site = snapshot.sites.get(host) if host is not None else None
        downstream.client, downstream.is_secure = downstream.peer, downstream.proto == b"https"
        is_trusted = snapshot.trusted.has(downstream.peer)
        if host is None or site is None:
            return None
        if not site.admits(downstream, host, is_trusted=is_trusted):
            return None
        access = site.client_access
        caller = _ANYBODY if access is None else access.caller(downstream.client_chain)
        is_closed = site.policy.is_broken or not caller.is_admitted
        is_ruled = site.rules is not None or snapshot.ready_path is not None or is_closed
        if is_trusted:
            known = _Known(snapshot, authority, host, site, Claims(), b"", is_ruled, caller)
            return self._told_by_proxy(known, exchange)
        lines = forwarded_lines(client=downstream.peer, host=authority, proto=downstream.proto) + caller.lines
        return _Known(snapshot, authority, host, site, None, lines, is_ruled, caller)

    def _told_by_proxy(self, known: _Known, exchange: Exchange) -> _Known:
        """Return the same for what a trusted proxy says of this request."""
        claims, downstream = exchange.request.block.claims, exchange.downstream
        asker = asker_of(downstream.peer, claims.x_forwarded_for, known.snapshot.trusted)
        proto = believed_proto(claims, downstream.proto)
        downstream.client, downstream.is_secure = asker.client, proto == b"https"
        lines = forwarded_lines(
            client=asker.client, host=believed_host(claims, known.authority), proto=proto, through=asker.through
        )
        caller = known.caller
        lines += caller.lines
        return _Known(known.snapshot, known.authority, known.host, known.site, claims, lines, known.is_ruled, caller)

    def _turned_away(self, known: _Known, exchange: Exchange) -> None:
        self._counters.hit("client_allow")
        identity = known.caller.identity
        _log.info(
            "a client's certificate is not in client_allow: 403",
            extra={
                "host": known.host,
                "client": exchange.downstream.client,
                "who": identity or "shows no certificate that can be read",
                "fingerprint": None if identity is None else identity.fingerprint,
                "next": "if it is to be served, add its san, subject or fingerprint to tls.client_allow",
            },
        )

    def _request_id(self) -> str:
        self._counters.begun += 1  # each request has one
        self._count = count = (self._count + 1) & 0xFFFFFFFF
        if not count & 0xFF:
            self._prefix = f"{self._ids}{count >> 8:06x}"
        return self._prefix + _ENDS[count & 0xFF]

    def _answer(
        self, exchange: Exchange, answer: Answer, site: Site | None, request_id: str, began: float, user: str = ""
    ) -> None:
        status, body, content_type, lines = answer
        lines += self._date()
        if site is not None:
            lines = site.secured(lines, exchange.downstream)
        if body or content_type is None:
            send_answer(exchange, status, body, content_type=content_type, lines=lines)
        else:
            send_error(exchange, status, request_id, lines=lines)
        self._record(exchange, site, status, len(body), request_id, began, user)

    def _record(
        self,
        exchange: Exchange,
        site: Site | None,
        status: int,
        sent: int,
        request_id: str,
        began: float,
        user: str = "",
    ) -> None:
        now = monotonic()
        self._counters.ended(self._counters.elsewhere if site is None else site.counts, status, now - began, sent)
        if not self.snapshot.access_log:
            return
        host, client = None if site is None else site.host, exchange.downstream.client
        self._log.record(now, now - began, host, client, exchange.request, status, sent, request_id, user)
