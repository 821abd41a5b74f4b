"""The client's side of a WebSocket tunnel, which can be told that we go away."""

from proxyd.core.frame_boundary import FrameBoundary
from proxyd.core.request_head import RequestHead
from proxyd.proxy.exchange import Downstream, Exchange, RequestSink

#: A close frame with 1001 (going away): RFC 6455 §5.5.1, §7.4.1. A server's is not masked.
_GOING_AWAY = b"\x88\x02\x03\xe9"


class WebSocketExchange(Exchange):
    """An exchange after `switch`: all bytes pass as they are, and it knows where a frame of the server's ends."""

    __slots__ = ("_boundary", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._boundary = FrameBoundary()

    def say_goodbye(self) -> bool:
        """Close with 1001; return false, and do nothing, where the client would read it as a part of a frame."""
        if not self._boundary.takes_frame:
            return False
        self._exchange.write(_GOING_AWAY)
        self._exchange.finish()
        return True

    def write(self, data: bytes) -> None:
        self._boundary.feed(data)
        self._exchange.write(data)

    @property
    def request(self) -> RequestHead:
        return self._exchange.request

    @property
    def downstream(self) -> Downstream:
        return self._exchange.downstream

    def deliver(self, sink: RequestSink) -> None:
        self._exchange.deliver(sink)

    def pause_body(self, paused: bool) -> None:
        self._exchange.pause_body(paused)

    def expect(self, seconds: float) -> None:
        self._exchange.expect(seconds)

    def interim(self, status: int, lines: bytes) -> None:
        self._exchange.interim(status, lines)

    def start(self, status: int, reason: bytes, lines: bytes, body: int) -> None:
        self._exchange.start(status, reason, lines, body)

    def switch(self, lines: bytes) -> None:
        self._exchange.switch(lines)

    def finish(self, trailers: bytes = b"") -> None:
        self._exchange.finish(trailers)

    def abort(self) -> None:
        self._exchange.abort()

    def flush(self) -> None:
        self._exchange.flush()
