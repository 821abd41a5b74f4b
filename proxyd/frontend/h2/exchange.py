"""One request of an HTTP/2 client and its response: a stream (RFC 9113 §5.1, §8.1)."""

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxyd.core.body_length import CHUNKED, NO_BODY
from proxyd.core.counters import Limit
from proxyd.core.request_head import RequestHead
from proxyd.frontend.h2.fault import StreamFault
from proxyd.frontend.h2.frames import CANCEL, CONNECT_ERROR, INTERNAL_ERROR, PROTOCOL_ERROR, STREAM_CLOSED
from proxyd.frontend.h2.outbox import HIGH, HIGH_OF_ALL, Outgoing
from proxyd.frontend.h2.priority import urgency_of
from proxyd.frontend.h2.websocket_key import WebSocketKey
from proxyd.proxy.exchange import Downstream, RequestSink

if TYPE_CHECKING:
    from proxyd.frontend.h2.engine import Engine

NEVER: Final = float("inf")
_NO_LENGTH: Final = -1
#: So long the other side of a tunnel has for its last words after the client's.
_LAST_WORDS_SECONDS = 5.0


class H2Exchange(Outgoing):
    """Implements Exchange. The engine gives it what comes on its stream, and takes what goes out.

    `room`: bytes of the body that the client may send still, `credit`: by how much more when it is told. `taken`: bytes
    that came. `late_at`: when the sink has waited long enough.
    """

    __slots__ = (
        "_answers",
        "_engine",
        "_head",
        "_incoming",
        "_is_body_held",
        "_is_download_held",
        "_key",
        "_left",
        "_owed",
        "_parts",
        "_trailers",
        "credit",
        "downstream",
        "is_complete",
        "is_tunnel",
        "late_at",
        "looked_at",
        "request",
        "room",
        "seen",
        "sink",
        "taken",
    )

    def __init__(
        self, engine: "Engine", stream: int, request: RequestHead, downstream: Downstream, *, complete: bool
    ) -> None:
        super().__init__(stream, engine.outbox.initial_window)
        self._engine = engine
        self.request = request
        self.downstream = downstream
        self.room = engine.stream_window
        self.is_complete = complete  # nothing more comes from the client
        self.is_tunnel = self._answers = self._is_body_held = self._is_download_held = False
        self.sink: RequestSink | None = None
        self.late_at = NEVER
        self._head: bytes | None = None  # until it is known whether a body follows
        self._parts: list[bytes] = []
        self._incoming: deque[tuple[bytes, int]] | None = None
        self._trailers = b""
        self._owed = self.taken = self.credit = 0
        self.seen = self.looked_at = 0.0
        self._left = request.block.body
        self._key: WebSocketKey | None = None
        if request.block.upgrade:
            self._key, self._left, self._is_body_held = WebSocketKey(), CHUNKED, True
            self.request = replace(request, kept=request.kept + self._key.line)

    # Exchange

    def deliver(self, sink: RequestSink) -> None:
        self.sink = sink

    def pause_body(self, paused: bool) -> None:
        self._is_body_held = paused
        if not paused:
            self._go_on()

    def expect(self, seconds: float) -> None:
        if self.is_tunnel and self.is_complete:  # it has its last words
            return
        if not seconds:
            self.late_at = NEVER
            return
        engine = self._engine
        self.late_at = at = engine.now() + seconds
        if at < engine.late_at:
            engine.late_at = at

    def interim(self, status: int, lines: bytes) -> None:
        if not self.is_done:
            self._engine.outbox.head(self, self._engine.encoder.head(status, lines), ends=False)

    def start(self, status: int, reason: bytes, lines: bytes, body: int) -> None:
        self._answers = True
        self.late_at = NEVER
        # RFC 9110 §8.6: of 204 there is no length to tell.
        self._head = self._engine.encoder.head(status, lines, _NO_LENGTH if status == 204 else body)

    def switch(self, lines: bytes) -> None:
        self._answers = self.is_tunnel = True
        self.late_at = NEVER
        kept = self._key.accepted(lines) if self._key is not None else None
        if kept is None:  # who does not read the key may be no WebSocket server at all (RFC 6455 §1.3)
            self._engine.reset(self, CONNECT_ERROR)
            return
        self._is_body_held = False
        self._engine.outbox.head(self, self._engine.encoder.head(200, kept), ends=False)  # RFC 8441 §5
        self._go_on()

    def write(self, data: bytes) -> None:
        self._parts.append(data)

    def flush(self) -> None:
        if self.is_done:
            return
        self._send_head()
        if self._parts:
            self._send_parts(ends=False)
            if self._must_hold() and self.sink is not None and not self._is_download_held:
                self._is_download_held = True
                self._engine.watch()
                self.sink.download_paused(True)

    def finish(self, trailers: bytes = b"") -> None:
        self.late_at = NEVER
        self.sink = None
        if self.is_done:
            return
        outbox, parts, head = self._engine.outbox, self._parts, self._head
        if head is not None and not trailers and len(parts) < 2:
            self._head = None
            outbox.whole(self, head, parts[0] if parts else b"")
        else:
            self._send_head()
            if parts or not trailers:
                self._send_parts(ends=not trailers)
            if trailers:
                outbox.trailers(self, self._engine.encoder.trailers(trailers))
        if self.queued:
            self._engine.watch()
            if self._is_body_held:  # nobody takes it any more; some clients read no answer before they have sent all
                self.pause_body(False)

    def abort(self) -> None:
        self.sink = None
        self._engine.reset(self, INTERNAL_ERROR)

    # From the engine

    def received(self, data: bytes, size: int, *, ends: bool) -> None:
        """Take a piece of the body that counts as `size` bytes (RFC 9113 §6.9.1). Raises StreamFault."""
        if self.is_complete:
            raise StreamFault(STREAM_CLOSED, "DATA after the end of the request")
        self._count(len(data), ends=ends)
        self.is_complete = ends
        self.taken += size
        if self._is_body_held or self._incoming:
            self._wait_with(data, size)
            return
        self._pass(data, size)
        if ends:
            self._end_of_body()

    def received_trailers(self, lines: bytes) -> None:
        """Take the end of the body. Raises StreamFault."""
        self._count(0, ends=True)
        self.is_complete, self._trailers = True, lines
        if self._is_body_held or self._incoming:
            self._wait_with(b"", 0)
        else:
            self._end_of_body()

    def gone(self) -> int:
        """End without a word: the stream is over. Return how many bytes the connection gets back."""
        owed, self._owed = self._owed, 0
        if self._incoming:
            owed += sum(size for _, size in self._incoming)
            self._incoming.clear()
        self.late_at = NEVER
        self._engine.outbox.forget(self)
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.abandoned()
        return owed

    def refuse(self, status: int, why: str, limit: Limit | None) -> None:
        """Answer what cannot be served to the end, unless an answer has begun."""
        self._engine.hit(limit)
        sink = self.sink
        if self._answers or sink is None:
            self._engine.reset(self, CANCEL)
        else:  # who has the request answers it, and counts it once
            self.sink = None
            sink.refused(status, why)

    def cut(self) -> None:
        """End it, a tunnel with last words."""
        if not (self.is_tunnel and self.sink is not None and self.sink.leave()):
            self._engine.reset(self, CANCEL)

    def look(self, now: float, idle: float) -> None:
        """Do what is due (RFC 9113 says nothing of it): the sink waited long, or the client let nothing move."""
        if self.late_at <= now:
            self.late_at = NEVER
            if self.sink is not None:
                self.sink.late()
        if self.is_done:
            return
        outbox = self._engine.outbox
        waits_for_room = self.queued > 0 and (self.window <= 0 or outbox.window <= 0)
        waits_for_body = not self.is_complete and not self._is_body_held and not self.is_tunnel
        # A client that is slow shares what it takes among its streams.
        moved = self.sent + self.taken + (outbox.sent if self.window > 0 else 0)
        if not (waits_for_room or waits_for_body) or moved != self.seen or not self.looked_at:
            self.seen, self.looked_at = moved, now
        elif now - self.looked_at >= idle:
            if waits_for_room:
                self._engine.hit("idle_timeout")
                self._engine.reset(self, CANCEL)
            else:
                self.refuse(408, "the request body did not come in time", "idle_timeout")

    @property
    def is_waited_for(self) -> bool:
        """Whether the client has to do something."""
        return bool(self.queued) or not self.is_complete

    # Outgoing

    def urgency(self) -> int:
        return urgency_of(self.request.kept)

    def drained(self) -> None:
        if self._is_download_held:
            self._is_download_held = False
            if self.sink is not None:
                self.sink.download_paused(False)

    def ended(self) -> None:
        self._engine.ended(self)

    # Inside

    def _must_hold(self) -> bool:
        return self.queued > HIGH or (self.queued > 0 and self._engine.outbox.queued > HIGH_OF_ALL)

    def _send_head(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._engine.outbox.head(self, head, ends=False)

    def _send_parts(self, *, ends: bool) -> None:
        parts, self._parts = self._parts, []
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._engine.outbox.body(self, data, ends=ends)

    def _count(self, size: int, *, ends: bool) -> None:
        """RFC 9113 §8.1.1: what comes must be as long as content-length says."""
        if self._left == CHUNKED:
            return
        self._left -= size
        if self._left < 0 or (ends and self._left):
            self._left = NO_BODY
            raise StreamFault(PROTOCOL_ERROR, "a body that is not as long as content-length says")

    def _wait_with(self, data: bytes, size: int) -> None:
        if self._incoming is None:
            self._incoming = deque()
        self._incoming.append((data, size))

    def _go_on(self) -> None:
        """Give what has waited, as long as it is taken."""
        owed, self._owed = self._owed, 0
        if owed:
            self._engine.consumed(self, owed)
        incoming = self._incoming
        while incoming and not self._is_body_held:
            self._pass(*incoming.popleft())
        if incoming is not None and not incoming and not self._is_body_held:
            self._incoming = None
            if self.is_complete:
                self._end_of_body()

    def _pass(self, data: bytes, size: int) -> None:
        """Give it to the sink; the client gets room for more when that has taken it."""
        if data and self.sink is not None:
            self.sink.body(data)
        if self._is_body_held and not self.is_done:
            self._owed += size
        else:
            self._engine.consumed(self, size)

    def _end_of_body(self) -> None:
        if self.sink is None:
            return
        if self.is_tunnel:
            self.late_at = self._engine.now() + _LAST_WORDS_SECONDS
            self._engine.watch()
            self.sink.body_end(b"")  # RFC 8441 §5: as the end of a TCP connection
        elif self.request.has_body:
            self.sink.body_end(self._trailers)
