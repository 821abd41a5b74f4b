"""An HTTP/2 connection without a socket: bytes in, exchanges for the handler, bytes out (RFC 9113)."""

from collections.abc import Callable, Sequence
from typing import Final

from proxyd.config.http2_limits import Http2Limits
from proxyd.core.counters import Limit
from proxyd.core.request_scanner import MalformedRequest
from proxyd.frontend.h2 import frames
from proxyd.frontend.h2.conduct import SETTINGS_EACH, TINY, Conduct, cost_of_tiny
from proxyd.frontend.h2.exchange import NEVER, H2Exchange
from proxyd.frontend.h2.fault import ConnectionFault, StreamFault
from proxyd.frontend.h2.field import Field
from proxyd.frontend.h2.frame_reader import FrameReader
from proxyd.frontend.h2.hpack_decoder import HpackDecoder
from proxyd.frontend.h2.hpack_encoder import HpackEncoder
from proxyd.frontend.h2.inbox_window import InboxWindow
from proxyd.frontend.h2.outbox import Outbox
from proxyd.frontend.h2.past_streams import PastStreams
from proxyd.frontend.h2.request_memo import RequestMemo
from proxyd.frontend.h2.request_reader import RequestReader, trailer_lines, unreadable
from proxyd.frontend.head_reader import HeadLimits
from proxyd.proxy.exchange import Downstream, ExchangeHandler
from proxyd.proxy.times import Times

_WATCH_SECONDS: Final = 1.0
_LAST_CALL: Final = b"last one"


class Engine:
    """Implements FrameSink. `late_at`: when `look` is to be called. Nothing here waits, or knows of a socket.

    `wake`: there is something to `take`. `hit` hears of each limit that the client is over. `each_own`: behind the
    connection are many clients, so that each request has a Downstream of its own. `now`: monotonic seconds.
    """

    __slots__ = (
        "_conduct",
        "_decoder",
        "_ghosts",
        "_handler",
        "_has_failed",
        "_is_left",
        "_is_told",
        "_last_is_told",
        "_later",
        "_limits",
        "_past",
        "_reader",
        "_requests",
        "_times",
        "_window",
        "downstream",
        "each_own",
        "encoder",
        "glitch",
        "hit",
        "last",
        "late_at",
        "now",
        "outbox",
        "stream_window",
        "streams",
        "why",
    )

    def __init__(
        self,
        downstream: Downstream,
        *,
        handler: ExchangeHandler,
        encoder: HpackEncoder,
        limits: Http2Limits,
        heads: HeadLimits,
        times: Times,
        wake: Callable[[], object],
        hit: Callable[[Limit | None], None],
        now: Callable[[], float],
        each_own: bool = False,
    ) -> None:
        self.downstream = downstream
        self.encoder = encoder
        self.hit = hit
        self.now = now
        self.streams: dict[int, H2Exchange] = {}
        self.last = 0  # stream of the client
        self.late_at = NEVER
        self.why = ""  # it had to end
        self.stream_window = limits.stream_window
        self._conduct = Conduct(limits, now)
        self.glitch = glitch = self._conduct.glitch
        self.outbox = Outbox(
            wake=wake, forced=lambda: glitch("windows of a few bytes"), most_controls=limits.max_control_frames
        )
        self._handler, self._limits = handler, limits
        self._times = times
        self.each_own = each_own
        self._reader = FrameReader(
            self, most_block=limits.max_header_block, most_continued=limits.max_continuations, now=now
        )
        self._decoder = HpackDecoder(max_size=heads.size, max_count=heads.fields)
        self._requests = RequestMemo(self._decoder, RequestReader(max_target=heads.target))
        self._window = InboxWindow(limits.connection_window, self.outbox.put)
        self._past = PastStreams(limits.stream_window, put=self.outbox.put, glitch=glitch)
        self._ghosts = 0  # taken back in this turn: their upstream connections are not closed yet
        self._later: list[H2Exchange] = []  # for which there is no place in this turn
        self._has_failed = self._is_told = self._last_is_told = self._is_left = False
        self._greet(heads)

    # Bytes

    def receive(self, data: bytes) -> None:
        """Take what came from the client."""
        if self._has_failed:
            return
        try:
            self._reader.feed(data)
        except ConnectionFault as fault:
            self._fail(fault)
            return
        if self._reader.block_began is not None:
            self.watch()

    def take(self) -> bytes:
        """Return what goes to the client in this turn of the event loop."""
        if self._ghosts:
            self._next_turn()
        if self._is_left and not self.streams:
            self.leave_now()
        try:
            return self.outbox.take()
        except ConnectionFault as fault:
            self._fail(fault)
            return self.outbox.take()

    @property
    def is_over(self) -> bool:
        """Whether the connection is to be closed, when all that was taken went out."""
        return self._has_failed or (self._last_is_told and not self.streams and not self._past.are_unfinished)

    @property
    def is_leaving(self) -> bool:
        """Whether the client was told that it gets no further requests served."""
        return self._is_told or self._is_left or self._has_failed

    # The end

    def leave(self) -> None:
        """Tell the client to ask elsewhere; what it has sent by then is served (RFC 9113 §6.8)."""
        if not self._is_told and not self._has_failed:
            self._is_told = True
            self.outbox.put(frames.goaway(frames.MAX_WINDOW, frames.NO_ERROR))
            self.outbox.put(frames.ping(_LAST_CALL))

    def leave_now(self) -> None:
        """Serve what came until now, and no more."""
        self._is_told = True
        if not self._last_is_told and not self._has_failed:
            self._last_is_told = True
            self.outbox.put(frames.goaway(self.last, frames.NO_ERROR))

    def cut(self, is_gone: Callable[[bytes], bool] | None) -> None:
        """End what is under way, or only that for authorities that are gone; tunnels with last words."""
        for exchange in [*self.streams.values()]:
            if is_gone is None or is_gone(exchange.request.authority):
                exchange.cut()

    def lost(self) -> None:
        """The client is gone: nothing goes out any more."""
        self._end()
        self.outbox.close()

    # Time

    def watch(self) -> None:
        """Have `look` called soon."""
        self.late_at = min(self.late_at, self.now() + _WATCH_SECONDS)

    def look(self, now: float) -> None:
        """Do what is due: see H2Exchange."""
        self.late_at = NEVER
        if self._has_failed:
            return
        began = self._reader.block_began
        if began is not None and now - began >= self._times.header:
            self._fail(ConnectionFault(frames.ENHANCE_YOUR_CALM, "a head that does not end", "header_timeout"))
            return
        self._past.look(now)
        is_watched = began is not None or self._past.are_unfinished
        for exchange in [*self.streams.values()]:
            exchange.look(now, self._times.idle)
            self.late_at = min(self.late_at, exchange.late_at)
            is_watched = is_watched or exchange.is_waited_for
        if is_watched:
            self.watch()

    # From exchanges

    def consumed(self, exchange: H2Exchange, size: int) -> None:
        """So much of a body was taken: the client gets room for more (RFC 9113 §5.2.2, §6.9)."""
        self._window.give(size)
        if exchange.is_complete or exchange.is_done:
            return
        exchange.credit += size
        if exchange.credit >= self.stream_window // 2:
            exchange.room += exchange.credit
            self.outbox.put(frames.window_update(exchange.id, exchange.credit))
            exchange.credit = 0

    def ended(self, exchange: H2Exchange) -> None:
        """All of a response went out."""
        if self.streams.pop(exchange.id, None) is None:
            return
        if exchange.taken:
            self._window.give(exchange.gone())
        if not exchange.is_complete:  # RFC 9113 §8.1: nobody needs the rest of the request
            self._past.add_unfinished(exchange.id, exchange.room, self.now())
            self.watch()

    def reset(self, exchange: H2Exchange, code: int) -> None:
        """End a stream, by no fault of the client's."""
        if self.streams.pop(exchange.id, None) is not None:
            self._window.give(exchange.gone())
            self._past.add(exchange.id)
            self.outbox.put(frames.rst_stream(exchange.id, code))

    # FrameSink

    def headers(self, stream: int, block: bytes, *, ends: bool, depends_on_itself: bool) -> None:
        request = self._requests.find(block) if ends and stream > self.last else None
        fields, limit = self._decoder.decode(block) if request is None else ((), None)
        if stream <= self.last:
            self._trailers(stream, fields, limit, ends=ends)
            return
        if self._last_is_told:  # RFC 9113 §6.8
            self.glitch("requests after the last one")
            return
        self.last = stream
        if depends_on_itself:
            raise StreamFault(frames.PROTOCOL_ERROR, "a stream that depends on itself")
        if len(self.streams) >= self._limits.max_streams:  # RFC 9113 §5.1.2
            self.hit("http2_streams")
            raise StreamFault(frames.REFUSED_STREAM, "too many requests at a time")
        downstream = self.downstream.again() if self.each_own else self.downstream
        try:
            if limit is not None:
                raise MalformedRequest("the request head is too large", 431, limit)
            if request is None:
                request = self._requests.read(block, fields, ends=ends)
        except MalformedRequest as error:
            self.hit(error.limit)
            exchange = self.streams[stream] = H2Exchange(self, stream, unreadable(fields), downstream, complete=ends)
            self._handler.refuse(exchange, error.status, str(error))
            return
        exchange = self.streams[stream] = H2Exchange(self, stream, request, downstream, complete=ends)
        if not ends:
            self.watch()
        if self._ghosts and len(self.streams) + self._ghosts > self._limits.max_streams:
            exchange.pause_body(True)
            self._later.append(exchange)
            return
        self._handler.handle(exchange)

    def data(self, stream: int, payload: bytes, size: int, *, ends: bool) -> None:
        self._window.fill(size)
        exchange = self.streams.get(stream)
        if exchange is None:
            self._window.give(size)
            if stream <= self.last or self._last_is_told:
                self._past.data(stream, size, ends=ends, was_open=stream <= self.last)
                self.outbox.wake()
                return
            raise ConnectionFault(frames.PROTOCOL_ERROR, "DATA on an idle stream")  # RFC 9113 §5.1
        if len(payload) < TINY and not ends and (exchange.taken or not payload):  # many end their only piece by another
            self.glitch("tiny pieces of bodies", cost_of_tiny(len(payload), in_tunnel=exchange.is_tunnel))
        try:
            if size > exchange.room:  # RFC 9113 §6.9.1
                raise StreamFault(frames.FLOW_CONTROL_ERROR, "more than the stream's window")
            exchange.room -= size
            exchange.received(payload, size, ends=ends)
        except StreamFault:
            self._window.give(size)
            raise

    def rst_stream(self, stream: int) -> None:
        exchange = self.streams.pop(stream, None)
        if exchange is None:
            if stream > self.last and not self._last_is_told:  # RFC 9113 §6.4
                raise ConnectionFault(frames.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
            if not self._past.finished(stream):
                self.glitch("RST_STREAM on closed streams")
            self.outbox.wake()
            return
        self._take_back(exchange)
        self._conduct.reset("requests that are taken back")

    def settings(self, values: list[tuple[int, int]]) -> None:
        self.glitch("SETTINGS frames", 1 + len(values) / SETTINGS_EACH)
        self.outbox.obey(values, self.streams.values())

    def ping(self, payload: bytes, *, ack: bool) -> None:
        if not ack:  # RFC 9113 §6.7
            self.glitch("PING frames")
            self.outbox.control(frames.ping(payload, ack=True))
        elif payload == _LAST_CALL and self._is_told and not self._last_is_told:
            self.leave_now()
        else:
            self.glitch("answers to no PING")

    def goaway(self) -> None:
        self.glitch("GOAWAY frames")
        self._is_left = True
        self.outbox.wake()

    def window_update(self, stream: int, amount: int) -> None:
        outbox = self.outbox
        if not outbox.is_update_free(self.last):
            self.glitch("WINDOW_UPDATE frames for nothing")
        if not stream:
            if not amount:  # RFC 9113 §6.9
                raise ConnectionFault(frames.PROTOCOL_ERROR, "a window that grows by nothing")
            outbox.widen(amount)
            return
        exchange = self.streams.get(stream)
        if exchange is None:
            if stream > self.last and not self._last_is_told:  # RFC 9113 §5.1
                raise ConnectionFault(frames.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
        elif not amount:
            raise StreamFault(frames.PROTOCOL_ERROR, "a window that grows by nothing")
        else:
            outbox.widen_stream(exchange, amount)

    def broken(self, stream: int, fault: StreamFault) -> None:
        exchange = self.streams.pop(stream, None)
        if exchange is not None:
            self._take_back(exchange)
        self._past.add(stream)
        self.outbox.control(frames.rst_stream(stream, fault.code))
        if fault.code == frames.REFUSED_STREAM:  # nobody has worked for it, and it may be asked for again
            self.glitch("requests at a time")
        else:
            self._conduct.reset(f"broken requests, the last one with {fault}")

    # Inside

    def _greet(self, heads: HeadLimits) -> None:
        """RFC 9113 §3.4: our settings come first."""
        values = {
            frames.MAX_CONCURRENT_STREAMS: self._limits.max_streams,
            frames.INITIAL_WINDOW_SIZE: self.stream_window,
            frames.MAX_HEADER_LIST_SIZE: heads.size,
            frames.ENABLE_CONNECT_PROTOCOL: 1,
        }
        self.outbox.put(frames.settings(values) + self._window.first())

    def _trailers(self, stream: int, fields: Sequence[Field], limit: Limit | None, *, ends: bool) -> None:
        """More fields came on a stream (RFC 9113 §8.1)."""
        exchange = self.streams.get(stream)
        if exchange is None:
            self._past.headers(stream, ends=ends)
            self.outbox.wake()
        elif exchange.is_complete:  # RFC 9113 §5.1
            raise StreamFault(frames.STREAM_CLOSED, "HEADERS after the end of the request")
        elif not ends or limit or exchange.request.block.upgrade:  # RFC 9113 §8.1, §8.5
            raise StreamFault(frames.PROTOCOL_ERROR, "trailers that are none")
        else:
            exchange.received_trailers(trailer_lines(fields))

    def _take_back(self, exchange: H2Exchange) -> None:
        """End what the client does not want any more; its place is free in the next turn."""
        if exchange.sink is not None:
            self._ghosts += 1
        self._window.give(exchange.gone())
        self.outbox.wake()

    def _next_turn(self) -> None:
        """Serve those for whom there was no place before the upstream connections of others were closed."""
        self._ghosts = 0
        later, self._later = self._later, []
        for exchange in later:
            if self.streams.get(exchange.id) is exchange:
                self._handler.handle(exchange)

    def _fail(self, fault: ConnectionFault) -> None:
        self.hit(fault.limit)
        self.why = str(fault)
        self._end()
        self.outbox.put(frames.goaway(self.last, fault.code))

    def _end(self) -> None:
        """Serve nothing any more."""
        if self._has_failed:
            return
        self._has_failed = True
        self.late_at = NEVER
        del self._reader  # which knows us: who is gone leaves nothing to the garbage collector
        self._later.clear()
        streams, self.streams = self.streams, {}
        for exchange in streams.values():
            exchange.gone()
