"""One request between its downstream and its upstream: bytes both ways, each side slowing the other."""

import asyncio
import logging
from collections.abc import Callable

from proxyd.core.header_rules import to_downstream, to_upstream
from proxyd.proxy.error_response import send_error
from proxyd.proxy.exchange import Exchange
from proxyd.proxy.snapshot import Site
from proxyd.upstream.connection import ResponseHead, UpstreamConnection, UpstreamError

_log = logging.getLogger("proxyd.proxy")
_REPLAYABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class Relay:
    """Implements RequestSink and ResponseSink. `done(status, bytes)` is called once, at the end."""

    def __init__(
        self,
        exchange: Exchange,
        site: Site,
        *,
        host: bytes,
        path: bytes,
        request_id: str,
        done: Callable[[int, int], None],
    ) -> None:
        self._exchange = exchange
        self._site = site
        self._request_id = request_id
        self._done = done
        self._head = self._request_head(host, path)
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._status = 0
        self._sent = 0
        self._over = False
        self._retried = False
        self._download_paused = False

    def start(self) -> None:
        """Send the request to the upstream."""
        request = self._exchange.request
        if request.has_body:
            self._exchange.pause_body(True)
        self._exchange.deliver(self)
        if connection := self._site.upstream.take_idle():
            self._begin(connection)
        else:
            self._connect()

    # RequestSink: from the downstream

    def body(self, data: bytes) -> None:
        if self._connection is not None and not self._over:
            chunked = self._exchange.request.length is None
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    def body_end(self) -> None:
        if self._connection is not None and not self._over:
            if self._exchange.request.length is None:
                self._connection.write(b"0\r\n\r\n")
            self._connection.finish()
            self._arm_timer()

    def abandoned(self) -> None:
        if not self._over:
            self._drop_upstream()
            self._end(499)

    def download_paused(self, paused: bool) -> None:
        self._download_paused = paused
        if self._connection is not None and not self._over:
            if paused:
                self._connection.pause()
            else:
                self._connection.resume()

    # ResponseSink: from the upstream

    def response(self, head: ResponseHead) -> None:
        self._cancel_timer()
        self._status = head.status
        self._exchange.start(head.status, head.reason, to_downstream(head.fields), head.length)

    def data(self, data: bytes) -> None:
        self._sent += len(data)
        self._exchange.write(data)

    def end(self) -> None:
        connection, self._connection = self._connection, None
        self._over = True
        self._exchange.finish()
        if connection is not None:
            # resume_reading first: it may have been paused for the slow client of this response
            connection.resume()
            self._site.upstream.give_back(connection)
        self._end(self._status)

    def failed(self, error: UpstreamError) -> None:
        self._connection = None
        if self._over:
            return
        replayable = (
            error.replayable and self._exchange.request.method in _REPLAYABLE and not self._exchange.request.has_body
        )
        if replayable and not self._retried:
            self._retried = True  # the upstream closed an idle connection just when we used it
            self._connect()
            return
        self._cancel_timer()
        _log.warning(
            "upstream failed",
            extra={"host": self._site.host, "reason": str(error), "request_id": self._request_id},
        )
        if self._status:
            self._exchange.abort()
            self._end(self._status)
        else:
            self._answer(504 if error.timed_out else 502)

    def flush(self) -> None:
        self._exchange.flush()

    def upload_paused(self, paused: bool) -> None:
        if not self._over:
            self._exchange.pause_body(paused)

    # Private

    def _connect(self) -> None:
        self._connecting = self._site.upstream.connect(self._site.timeouts.connect, self._connected)

    def _connected(self, result: UpstreamConnection | UpstreamError) -> None:
        self._connecting = None
        if isinstance(result, UpstreamError):
            self.failed(result)
        elif self._over:
            result.close()
        else:
            self._begin(result)

    def _begin(self, connection: UpstreamConnection) -> None:
        request = self._exchange.request
        self._connection = connection
        connection.begin(self, self._head, is_head=request.method == "HEAD", has_body=request.has_body)
        if self._download_paused:  # the client stopped reading before the upstream was there
            connection.pause()
        if request.has_body:
            self._exchange.pause_body(False)
        else:
            self._arm_timer()

    def _request_head(self, host: bytes, path: bytes) -> bytes:
        request = self._exchange.request
        fields = to_upstream(
            request.fields,
            client=self._exchange.downstream.client,
            host=host,
            proto="https",
            request_id=self._request_id,
        )
        if request.has_body:
            framing = (b"Transfer-Encoding", b"chunked")
            if request.length is not None:
                framing = (b"Content-Length", b"%d" % request.length)
            fields.append(framing)
        elif request.length == 0:
            fields.append((b"Content-Length", b"0"))
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method.encode(), path, lines)

    def _arm_timer(self) -> None:
        if self._timer is None and not self._status:
            seconds = self._site.timeouts.response.total_seconds()
            if seconds:
                self._timer = asyncio.get_running_loop().call_later(seconds, self._timed_out)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        if self._over or self._status:
            return
        seconds = self._site.timeouts.response.total_seconds()
        self._drop_upstream()
        message = f"{self._site.upstream.address} gave no answer within {seconds:g} s"
        self.failed(UpstreamError(message, timed_out=True))

    def _answer(self, status: int) -> None:
        self._over = True
        send_error(self._exchange, status, self._request_id)
        self._end(status)

    def _drop_upstream(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _end(self, status: int) -> None:
        self._over = True
        self._cancel_timer()
        self._done(status, self._sent)
