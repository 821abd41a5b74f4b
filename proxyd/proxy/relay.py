"""One request between its downstream and its upstream: bytes both ways, each side slowing the other."""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from proxyd.core.body_length import CHUNKED
from proxyd.core.request_head import RequestHead
from proxyd.core.response_scanner import ResponseHead
from proxyd.proxy.error_response import answer_to, retry_after, send_error
from proxyd.proxy.exchange import Exchange
from proxyd.proxy.snapshot import Site
from proxyd.proxy.upstream_head import upstream_head
from proxyd.proxy.web_socket import WebSocketExchange
from proxyd.upstream.connection import UpstreamConnection, UpstreamError
from proxyd.upstream.dialer import ConnectFailed
from proxyd.upstream.pool import Dial, UpstreamPool

_log = logging.getLogger("proxyd.proxy")
_REPLAYABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
#: Who waits with its body for 100 (Continue) is not left waiting by an upstream that does not know it.
_CONTINUE_SECONDS = 1.0
#: So long an upstream may take to read what a client that left a tunnel had sent.
_FLUSH_SECONDS = 5.0
#: Called once, at the end, with the status (499: the client left), bytes of the body, the id, and when it began.
Done = Callable[[Exchange, Site, int, int, str, float], None]


class Relay:
    """Implements RequestSink and ResponseSink. `request`: as the upstream is to see it. `forwarded`: the header lines
    that tell it who asks.
    """

    __slots__ = (
        "_asked",
        "_awaits_continue",
        "_connecting",
        "_connection",
        "_date",
        "_done",
        "_download_paused",
        "_forwarded",
        "_is_over",
        "_pool",
        "_request",
        "_retried",
        "_taken",
        "_tried",
        "_tunnels",
        "_uploaded",
        "began",
        "exchange",
        "request_id",
        "sent",
        "site",
        "status",
    )

    def __init__(
        self,
        exchange: Exchange,
        site: Site,
        request: RequestHead,
        forwarded: bytes,
        request_id: str,
        began: float,
        date: Callable[[], bytes],
        done: Done,
    ) -> None:
        self.exchange = exchange
        self.site = site
        self.request_id = request_id
        self.began = self._asked = began
        self.status = 0
        self.sent = 0
        self._request = request
        self._forwarded = forwarded
        self._date = date
        self._done = done
        self._connection: UpstreamConnection | None = None
        self._connecting: Dial | None = None
        self._pool: UpstreamPool | None = None
        self._tried: tuple[UpstreamPool, ...] = ()
        self._uploaded = 0
        self._taken = -1  # while the upstream does not take the request's body as it comes: what it has taken
        self._is_over = False
        self._retried = False
        self._tunnels = False
        self._download_paused = False
        self._awaits_continue = False

    def start(self) -> None:
        """Send the request to the upstream."""
        exchange = self.exchange
        if self._request.block.body:
            exchange.pause_body(True)
        exchange.deliver(self)
        pool = self.site.upstream.pick(exchange.downstream.client)
        if pool is None:
            self._unavailable()
        else:
            self._use(pool)

    # RequestSink: from the downstream

    def body(self, data: bytes) -> None:
        if self._connection is None or self._is_over:
            return
        self._awaits_continue = False
        self.site.counters.received += len(data)
        if self.status:  # the answer has begun, or it is a tunnel: what moves does not stall
            self._expect_more()
        if self._tunnels or self._request.block.body != CHUNKED:
            self._connection.write(data)
            return
        self._uploaded += len(data)
        if 0 < self.site.max_body < self._uploaded:
            self.site.counters.hit("max_body")
            self._drop_upstream()
            self._refuse(413)
            return
        self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))

    def body_end(self, trailers: bytes) -> None:
        if self._connection is None or self._is_over:
            return
        if self._request.block.body == CHUNKED:
            if trailers and self.site.reserved is not None:
                trailers = self.site.reserved.applied(trailers)
            self._connection.write(b"0%b\r\n\r\n" % trailers)
        self._connection.finish()
        if not self.status and self._taken < 0:
            self.exchange.expect(self.site.times.response)

    def abandoned(self) -> None:
        if self._is_over:
            return
        if self._tunnels and self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()  # what is under way arrives, unless nobody takes it
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, connection.abort)
        self._drop_upstream()
        self._end(self.status if self._tunnels else 499)

    def leave(self) -> bool:
        exchange = self.exchange
        if self._is_over or not isinstance(exchange, WebSocketExchange) or not exchange.say_goodbye():
            return False
        self.abandoned()
        return True

    def refused(self, status: int, why: str) -> None:
        if self._is_over:
            return
        extra = {"client": self.exchange.downstream.client, "reason": why, "request_id": self.request_id}
        _log.debug("refused a request", extra=extra)
        self._drop_upstream()
        self._refuse(status)

    def download_paused(self, paused: bool) -> None:
        self._download_paused = paused
        if self._connection is None or self._is_over:
            return
        if paused:
            self.exchange.expect(0)
            self._connection.pause()
        else:
            self._connection.resume()
            self._expect_more()

    def late(self) -> None:
        if self._is_over:
            return
        if self._awaits_continue:
            self._awaits_continue = False
            self.exchange.interim(100, b"")
            self.exchange.flush()
            return
        had_taken = self._taken
        if had_taken >= 0 and self._connection is not None:
            self._taken = self._connection.taken()
            if self._taken != had_taken:
                self.exchange.expect(self.site.times.idle)
                return
        self._drop_upstream()
        if self._tunnels:
            self.site.counters.hit("tunnel_timeout")
            self.exchange.finish()
            self._end(self.status)
            return
        upstream = self._pool.name if self._pool is not None else ""
        uploads, answers = had_taken >= 0, bool(self.status)
        self.site.counters.hit("idle_timeout" if answers or uploads else "response_timeout")
        message = self.site.times.missed(upstream, uploads=uploads, answers=answers)
        self.failed(UpstreamError(message, timed_out=True))

    # ResponseSink: from the upstream

    def interim(self, head: ResponseHead) -> None:
        if head.status != 100:
            self.exchange.interim(head.status, head.kept)
        elif self._awaits_continue:
            self._awaits_continue = False
            self.exchange.expect(0)
            self.exchange.interim(100, b"")

    def response(self, head: ResponseHead, body: int) -> None:
        if self._request.version == 20 and self._request.block.upgrade and head.status < 300:
            # RFC 8441 §5: the client would take that for the tunnel.
            self._drop_upstream()
            self.failed(UpstreamError("the upstream did not change protocols", kind="malformed"))
            return
        self._answered()
        self.status = head.status
        self._awaits_continue = False
        lines = head.kept if head.has_date else head.kept + self._date()
        if self.site.security is not None:
            lines = self.site.secured(lines, self.exchange.downstream)
        if self.site.response_fields is not None:
            lines = self.site.response_fields.applied(lines)
        if head.upgrade and head.status == 426:  # RFC 9110 §15.5.22
            lines += b"\r\nConnection: Upgrade\r\nUpgrade: " + head.upgrade
        self.exchange.start(head.status, head.reason, lines, body)

    def switched(self, head: ResponseHead) -> None:
        self._answered()
        self.status, self._tunnels = 101, True
        self.site.counters.tunnels_begun += 1
        self.exchange.switch(b"%b\r\nUpgrade: %b" % (head.kept, head.upgrade))
        if head.upgrade.lower() == b"websocket":
            self.exchange = WebSocketExchange(self.exchange)
        self._expect_more()

    def data(self, data: bytes) -> None:
        self.sent += len(data)
        self.exchange.write(data)

    def end(self, trailers: bytes) -> None:
        connection, self._connection = self._connection, None
        self._is_over = True
        self.exchange.finish(trailers)
        if connection is not None:
            connection.resume()  # it may have been paused for the slow client of this response
            if self._pool is not None:
                self._pool.give_back(connection)
        self._end(self.status)

    def failed(self, error: UpstreamError) -> None:
        self._connection = None
        if self._is_over:
            return
        request = self._request
        if error.replayable and not self._retried and request.method in _REPLAYABLE and not request.block.body:
            self._retried = True  # the upstream closed an idle connection just when we used it
            self._connect()
            return
        is_ours = isinstance(error, ConnectFailed) and error.is_ours
        group = self.site.upstream
        if self._pool is not None and not is_ours:
            group.failed(self._pool, error)
        if isinstance(error, ConnectFailed) and self._use_another():
            return
        _log.warning("upstream failed", extra=self._said(str(error)))
        status, lines = answer_to(error, group)
        self._refuse(status, lines=lines)

    def flush(self) -> None:
        if not self._is_over:  # once for all that one read brought; the end of a response flushes by itself
            self._expect_more()
            self.exchange.flush()

    def upload_paused(self, paused: bool) -> None:
        if self._is_over or self._connection is None:
            return
        if not self._tunnels:
            self._taken = self._connection.taken() if paused else -1
            if not self.status:
                times = self.site.times
                after = times.response if self._connection.is_uploaded else 0.0
                self.exchange.expect(times.idle if paused else after)
        self.exchange.pause_body(paused)

    # Inside

    def _use(self, pool: UpstreamPool) -> None:
        if self._pool is not None:
            self._pool.active -= 1
        pool.active += 1
        self._pool = pool
        if connection := pool.take_idle():
            self._begin(connection)
        else:
            self._connect()

    def _use_another(self) -> bool:
        """Nothing was sent: another upstream may serve. One is always tried, more while there is time to connect."""
        if self._pool is None:
            return False
        self._tried = (*self._tried, self._pool)
        if len(self._tried) > 1 and monotonic() - self.began > self.site.times.connect:
            return False
        pool = self.site.upstream.pick(self.exchange.downstream.client, self._tried)
        if pool is None:
            return False
        self._asked = monotonic()
        self._use(pool)
        return True

    def _unavailable(self) -> None:
        reason, seconds = self.site.upstream.unavailable()
        self.site.counters.hit("max_upstream_connections" if self.site.upstream.is_full() else None)
        _log.warning("no upstream is available", extra=self._said(reason))
        self._refuse(503, lines=retry_after(seconds))

    def _answered(self) -> None:
        pool = self._pool
        if pool is None:
            return
        answers = pool.answers
        answers[0] += 1
        answers[1] += monotonic() - self._asked
        if pool.passive.failures:
            self.site.upstream.worked(pool)

    def _said(self, reason: str) -> dict[str, object]:
        return {"host": self.site.host, "reason": reason, "request_id": self.request_id}

    def _connect(self) -> None:
        assert self._pool is not None
        self._connecting = self._pool.connect(self.site.times.connect, self._connected, anew=self._retried)

    def _connected(self, result: UpstreamConnection | UpstreamError) -> None:
        self._connecting = None
        if isinstance(result, UpstreamError):
            self.failed(result)
        elif self._is_over:
            result.close()
        else:
            self._begin(result)

    def _begin(self, connection: UpstreamConnection) -> None:
        exchange = self.exchange
        request = self._request
        block = request.block
        self._connection = connection
        authority = request.authority
        if not self.site.keeps_host and self._pool is not None:
            authority = self._pool.dialer.address.host_field
        head = upstream_head(request, authority, self._forwarded, self.request_id)
        if not block.body and not block.upgrade:
            connection.begin(self, head, is_head=request.method == b"HEAD", has_body=False)
            exchange.expect(self.site.times.response)
        else:
            is_head, has_body = request.method == b"HEAD", bool(block.body)
            connection.begin(self, head, is_head=is_head, has_body=has_body, offered=block.upgrade)
            if block.expects_continue:
                self._awaits_continue = True
                exchange.expect(_CONTINUE_SECONDS)
            elif not block.body:
                exchange.expect(self.site.times.response)
        if self._download_paused:  # the client stopped reading before the upstream was there
            connection.pause()
        if block.body:
            exchange.pause_body(False)

    def _expect_more(self) -> None:
        """A body that stops for long is over, one that moves never; a tunnel as its host's options say."""
        if self._tunnels:
            self.exchange.expect(self.site.times.tunnel)
        elif not self._download_paused and self.status:
            self.exchange.expect(self.site.times.idle)

    def _refuse(self, status: int, *, lines: bytes = b"") -> None:
        """Tell the client that there is no answer; what has begun of one is cut off."""
        self._is_over = True
        if self.status:
            self.exchange.abort()
            self._end(self.status)
        else:
            lines = self.site.secured(lines + self._date(), self.exchange.downstream)
            send_error(self.exchange, status, self.request_id, lines=lines)
            self._end(status)

    def _drop_upstream(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _end(self, status: int) -> None:
        self._is_over = True
        self.status = status
        if self._pool is not None:
            self._pool.active -= 1
            self._pool = None
        self._done(self.exchange, self.site, status, self.sent, self.request_id, self.began)
