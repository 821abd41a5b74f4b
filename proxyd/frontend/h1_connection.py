"""One HTTP/1.1 connection of a client: requests in, one after the other, and their responses out (RFC 9112).

The strict scanner sees every head. No task, no future and no timer for a request: times are kept as moments that one
sweep of the frontend looks at.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from proxyd.core.chunked_body import MalformedBody
from proxyd.core.counters import Limit, Standing
from proxyd.core.request_scanner import MalformedRequest, is_plain, keeps_open
from proxyd.frontend.aiohttp_front import AiohttpExchange
from proxyd.frontend.body_reader import BodyReader
from proxyd.frontend.head_reader import UNREADABLE, HeadReader
from proxyd.frontend.phase import BODY, HEAD, LATER, NOTHING, STANDING, TUNNEL
from proxyd.frontend.response_head import response_head
from proxyd.frontend.response_writer import ResponseWriter
from proxyd.proxy.exchange import Downstream, RequestSink
from proxyd.proxy.times import Times
from proxyd.upstream.taken import taken

if TYPE_CHECKING:
    from proxyd.frontend.h1 import H1Frontend

NEVER: Final = float("inf")
#: Bytes of later requests (pipelining), or of a body that nobody takes yet, until the client has to wait.
_MOST_PENDING = 65_536
#: uvloop's own is 512 KiB for TLS: a client that does not read cost 1.2 MiB, with this a half; no download is slower.
_MOST_UNSENT = 128 << 10
#: So long a client may go on sending what nobody reads, after its answer: a close at once could destroy that.
_LINGER_SECONDS = 2.0


class H1Connection(ResponseWriter, asyncio.Protocol):
    """Implements Exchange for the request under way, of which there is one at a time."""

    __slots__ = (
        "_answers",
        "_body",
        "_body_held",
        "_heads",
        "_keeps",
        "_lent",
        "_lost",
        "_owner",
        "_paused",
        "_pending",
        "_phase",
        "_sink",
        "_times",
        "downstream",
        "late_at",
    )

    def __init__(self, owner: "H1Frontend", downstream: Downstream, times: Times, lost: Callable[[], None]) -> None:
        super().__init__()
        self.downstream = downstream
        self._times = times
        self._lost = lost
        self.deadline = self.late_at = NEVER  # what the client has to do by then; what the sink waits for
        self._owner = owner
        self._phase = HEAD
        self._pending = b""
        self._sink: RequestSink | None = None
        self._body: BodyReader | None = None
        self._body_held = False
        self._keeps = True
        self._answers = False  # the response has begun
        self._paused = False  # the client takes no more
        self._heads = HeadReader(owner.limits())
        self._lent: AiohttpExchange | None = None  # who reads the request in our place

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._transport.set_write_buffer_limits(high=_MOST_UNSENT)
        self.deadline = monotonic() + self._times.header
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is HEAD:
            self._pending = self._pending + data if self._pending else data
            if len(self._pending) > _MOST_PENDING:
                self._read(False)
            if not self._paused:
                self._next()
        elif phase is BODY and not self._body_held:
            self._take_body(data)
        elif phase is TUNNEL:
            if self._sink is not None:
                self._sink.body(data)
        elif phase is not NOTHING:
            self._pending += data
            if len(self._pending) > _MOST_PENDING:
                self._read(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._phase, self._pending = None, NOTHING, b""
        self.deadline = self.late_at = NEVER
        self._owner.gone(self)
        self._lost()
        sink, self._sink, self._lent = self._sink, None, None
        if sink is not None:
            sink.abandoned()

    def pause_writing(self) -> None:
        self._paused = True
        if self._phase is not TUNNEL:
            self.deadline = monotonic() + self._times.idle
            self._taken = taken(self._transport)
        if self._sink is not None:
            self._sink.download_paused(True)

    def resume_writing(self) -> None:
        self._paused = False
        if self._phase is HEAD:
            self.deadline = monotonic() + self._times.keepalive
            if self._pending:
                self._owner.soon(self._go_on)
        elif self._phase is not NOTHING:
            waits = self._phase is BODY and not self._body_held
            self.deadline = monotonic() + self._times.idle if waits else NEVER
        if self._sink is not None:
            self._sink.download_paused(False)

    # Exchange

    def deliver(self, sink: RequestSink) -> None:
        self._sink = sink
        if self._paused:  # by the end of the response before this one
            sink.download_paused(True)

    def pause_body(self, paused: bool) -> None:
        self._body_held = paused
        if self._phase is TUNNEL:
            self._read(not paused)
        elif self._phase is BODY:
            self.deadline = NEVER if paused else monotonic() + self._times.idle
            if paused:
                self._read(False)
                return
            self._go_on_with_body()

    def expect(self, seconds: float) -> None:
        self.late_at = monotonic() + seconds if seconds else NEVER

    def start(self, status: int, reason: bytes, lines: bytes, body: int) -> None:
        self._answers = True
        self.late_at = NEVER
        # An answer before the end of the body: what follows may be no request.
        keeps = self._keeps and self._phase is not BODY
        data, self._framed, self._keeps = response_head(self.request, status, reason, lines, body, keeps=keeps)
        self._out.append(data)

    def switch(self, lines: bytes) -> None:
        self._answers, self._phase, self._keeps = True, TUNNEL, False
        self.deadline = self.late_at = NEVER
        offered = b"\r\nConnection: Upgrade"
        self._out.append(b"HTTP/1.1 101 Switching Protocols%b%b\r\n\r\n" % (lines, offered))
        self.flush()
        data, self._pending = self._pending, b""
        self._read(True)
        if data and self._sink is not None:
            self._sink.body(data)

    def finish(self, trailers: bytes = b"") -> None:
        if self._framed:
            self._out.append(b"0%b\r\n\r\n" % trailers)
        self.flush()
        self._sink = self._lent = None
        self.late_at = NEVER
        if self._phase is BODY or self._phase is NOTHING:
            self._linger()
        elif not self._keeps or self._owner.is_draining:
            self._close()
        elif self._transport is not None:
            self._phase = HEAD
            self._answers = self._framed = False
            self.deadline = monotonic() + (self._times.idle if self._paused else self._times.keepalive)
            if self._pending:
                self._owner.soon(self._go_on)
            elif not self._is_reading:
                self._read(True)

    def abort(self) -> None:
        self._out.clear()
        self._sink = self._lent = None
        self._phase = NOTHING
        if self._transport is not None:
            self._transport.abort()

    # For the frontend

    def expired(self, now: float) -> None:
        """The client, or the sink, did not do in time what it had to."""
        if self.late_at <= now:
            self.late_at = NEVER
            if self._sink is not None:
                self._sink.late()
        if self.deadline > now:
            return
        self.deadline = NEVER
        if self._paused or self._is_closing():
            self._cut_unless_slow(now, self._times.idle, self._owner.hit)
        elif self._phase is HEAD and self._pending:
            self.refuse(408, "the request head did not come in time", "header_timeout")
        elif self._phase is BODY and not self._answers:
            self.refuse(408, "the request body did not come in time", "idle_timeout")
        elif self._phase is HEAD or self._phase is NOTHING:
            if self._phase is HEAD:
                self._owner.hit("keepalive_timeout" if hasattr(self, "request") else "header_timeout")
            self._close()
        else:  # it stopped in a body that is answered already
            self._owner.hit("idle_timeout")
            self.abandon()

    @property
    def standing(self) -> Standing:
        """What operators are told that it does."""
        return STANDING[self._phase]

    def close_when_idle(self, *, is_new_too: bool = True) -> None:
        """Serve what is under way, then close; who is new and has not asked yet may be let ask."""
        if self._phase is HEAD and not self._pending and (is_new_too or hasattr(self, "request")):
            self._close()
        elif not self._answers:
            self._keeps = False

    def cut(self, is_gone: Callable[[bytes], bool] | None = None) -> None:
        """Cut it, a tunnel with last words; `is_gone`: only what is under way for such an authority."""
        sink = self._sink
        if is_gone is not None and (sink is None or not is_gone(self.request.authority)):
            return
        if sink is None or self._phase is not TUNNEL or not sink.leave():
            self.abandon()

    def refuse(self, status: int, why: str, limit: Limit | None = None) -> None:
        """Answer what cannot be served, unless an answer has begun, and close."""
        self._owner.hit(limit)
        sink, self._sink, self._lent = self._lent or self._sink, None, None
        if self._answers:
            if sink is not None:
                sink.abandoned()
            self.abort()
            return
        if self._phase is HEAD:
            self.request = UNREADABLE
        self._phase, self._keeps, self._out = NOTHING, False, []
        if sink is None:
            self._owner.refuse(self, status, why)
        else:  # who has the request answers it, and counts it once
            sink.refused(status, why)

    # Inside

    def _go_on(self) -> None:
        """Take the request that came before the last response was over."""
        if self._phase is HEAD and self._pending and not self._paused:
            self._next()

    def _next(self) -> None:
        data = self._pending
        if data.startswith(b"\r\n"):  # some clients write an empty line after a body (RFC 9112 §2.2)
            data = self._pending = data[2:]
            if not data:
                self._read(True)
                return
        try:
            found = self._heads.read(data)
        except MalformedRequest as error:
            self.refuse(error.status, str(error), error.limit)
            return
        if found is None:
            self.deadline = min(self.deadline, monotonic() + self._times.header)
            self._read(True)
            return
        self.request, end = found
        self._pending = data[end:]
        block = self.request.block
        other = self._owner.aiohttp
        self._lent = None
        if other is not None and is_plain(self.request.version, block):
            self._lent = other.take(self, data[:end])
        self._keeps = keeps_open(self.request.version, block) and not self._owner.is_draining
        self._begin(block.body)

    def _begin(self, body: int) -> None:
        self.deadline = NEVER
        self._body_held = False
        if not body:
            self._phase = LATER
            if self._lent is None:
                self._owner.handle(self)
            return
        self._phase, self._body = BODY, BodyReader(body)
        self.deadline = monotonic() + self._times.idle
        if self._lent is None:
            self._owner.handle(self)
        self._go_on_with_body()

    def _go_on_with_body(self) -> None:
        """Take what came of it, and read only when that is not all: what follows has to wait."""
        if self._phase is BODY and not self._body_held:
            data, self._pending = self._pending, b""
            if data:
                self._take_body(data)
        if self._phase is BODY and not self._body_held:
            self._read(True)

    def _take_body(self, data: bytes) -> None:
        assert self._body is not None
        try:
            pieces, end = self._body.feed(data)
        except MalformedBody as error:
            self.refuse(400, str(error))
            return
        trailers = self._body.trailers
        if self._lent is not None:
            self._lent.trailers = trailers
            self._lent.feed(data if end < 0 else data[:end])
        else:
            for piece in pieces:
                if self._sink is None:  # it had enough
                    break
                self._sink.body(piece)
        if self._phase is not BODY:
            return
        if end < 0:
            self.deadline = NEVER if self._body_held else monotonic() + self._times.idle
            return
        self._phase, self._pending, self.deadline = LATER, data[end:] + self._pending, NEVER
        if len(self._pending) > _MOST_PENDING:  # who takes the body may have asked for more of it
            self._read(False)
        if self._sink is not None:
            self._sink.body_end(trailers)

    def _linger(self) -> None:
        """Close when the client has had time to read what it was sent, although it goes on sending."""
        self._phase, self._pending, self._sink = NOTHING, b"", None
        self._read(True)
        self.deadline = monotonic() + _LINGER_SECONDS

    def _close(self) -> None:
        self._phase, self._pending = NOTHING, b""
        if self._transport is not None:
            self._transport.close()  # whose end many clients answer when they want something again
            self.deadline, self._taken = monotonic() + _LINGER_SECONDS, -1

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()
