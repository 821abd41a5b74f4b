"""One HTTP/1.1 connection to an upstream: bytes in, events out, no task and no future per request."""

import asyncio
import contextlib
import os
import ssl
from enum import Enum, auto
from math import inf
from typing import Protocol, cast

from proxyd.core.body_length import CHUNKED, NO_BODY, UNTIL_CLOSE
from proxyd.core.chunked_body import ChunkedBody, MalformedBody
from proxyd.core.counters import ErrorKind
from proxyd.core.response_scanner import MalformedResponse, ResponseHead, scan_response
from proxyd.upstream.taken import taken
from proxyd.upstream.tls_error import refusal

_HEAD_LIMIT = _READ_BYTES = 65_536
#: Informational responses before the final one; more are a flood.
_MOST_INTERIM = 16
_MOST_REMEMBERED = 2048  # bytes of a head
_START, _END = b"HTTP/1.", b"\r\n\r\n"


class UpstreamError(Exception):
    """The upstream failed. `replayable`: no byte of an answer came, on a connection that had served before."""

    kind: ErrorKind

    def __init__(
        self, message: str, *, replayable: bool = False, timed_out: bool = False, kind: ErrorKind = "closed"
    ) -> None:
        super().__init__(message)
        self.kind = "timeout" if timed_out else kind
        self.replayable = replayable
        self.timed_out = timed_out


class ResponseSink(Protocol):
    """Who takes the answer. Calls come from the event loop, in order; after `end` or `failed` none follows."""

    def interim(self, head: ResponseHead) -> None:
        """An informational response; the final one follows."""
        ...

    def response(self, head: ResponseHead, body: int) -> None:
        """The final response's head. `body`: its length, CHUNKED or UNTIL_CLOSE; for HEAD what it would have been."""
        ...

    def switched(self, head: ResponseHead) -> None:
        """The upstream changes protocols, as was asked: from now on `data` are its bytes."""
        ...

    def data(self, data: bytes) -> None: ...
    def end(self, trailers: bytes) -> None: ...
    def failed(self, error: UpstreamError) -> None: ...
    def flush(self) -> None:
        """All events of one read were given."""
        ...

    def upload_paused(self, paused: bool) -> None:
        """Stop (or continue) giving request bytes: the upstream does not take them."""
        ...


class _Phase(Enum):
    """What the next bytes of the upstream are."""

    HEAD = auto()
    LENGTH = auto()
    CHUNKS = auto()
    UNTIL_CLOSE = auto()
    TUNNEL = auto()


#: In the class a look-up takes ten times as long.
_HEAD, _LENGTH, _CHUNKS, _UNTIL_CLOSE, _TUNNEL = _Phase


class UpstreamConnection(asyncio.Protocol):
    """Carries one request at a time; `is_open` says whether it may carry another one, `is_reusable` whether it might.

    `idle`: seconds that the upstream keeps it open without a request, where it says so. `until`: from when on it gets
    no further request, by the loop's clock.
    """

    __slots__ = (
        "_answered",
        "_chunks",
        "_ended",
        "_interims",
        "_is_head",
        "_known",
        "_known_bytes",
        "_left",
        "_name",
        "_offered",
        "_partial",
        "_paused",
        "_phase",
        "_served",
        "_sink",
        "_transport",
        "_upload_done",
        "idle",
        "is_reusable",
        "until",
    )

    def __init__(self, name: str) -> None:
        self.idle: float | None = None
        self.until = inf
        self._name = name
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._phase = _HEAD
        self._partial = b""
        self._left = 0
        self._chunks: ChunkedBody | None = None
        self._is_head = False
        self._offered = b""
        self._upload_done = False
        self._served = False  # a request before this one
        self._answered = False  # any byte of the answer came
        self._ended = False  # it said that nothing more comes
        self._interims = 0
        self._known_bytes = b""
        self._known: ResponseHead | None = None
        self.is_reusable = True
        self._paused = False

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self.is_reusable

    def begin(self, sink: ResponseSink, head: bytes, *, is_head: bool, has_body: bool, offered: bytes = b"") -> None:
        """Send a request's head; its body follows by `write` and `finish`.

        `offered`: the protocols that the upstream may change to.
        """
        self._sink, self._is_head, self._upload_done, self._offered = sink, is_head, not has_body, offered
        self._phase, self._partial, self._interims, self._answered = _HEAD, b"", 0, False
        self.write(head)

    def write(self, data: bytes) -> None:
        """Send bytes of the request."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """Tell that the request is complete; in a tunnel the upstream hears of it, unless TLS is between us."""
        self._upload_done = True
        transport = self._transport
        if self._phase is not _TUNNEL or transport is None or transport.is_closing():
            return
        if transport.can_write_eof():
            transport.write_eof()

    @property
    def is_uploaded(self) -> bool:
        return self._upload_done

    def taken(self) -> int:
        """Return a count that grows as long as the upstream takes bytes of the request."""
        return taken(self._transport)

    def pause(self) -> None:
        """Stop reading: the downstream is slow."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection; the sink hears nothing more."""
        self._sink, self.is_reusable = None, False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close it when all is sent; the sink hears nothing more.

        A request that was answered before it was complete is not waited for: nobody may ever read it.
        """
        self._sink, self.is_reusable = None, False
        if self._transport is None:
            return
        if self._upload_done or not self._transport.get_write_buffer_size():
            self._transport.close()
        else:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:  # bytes nobody asked for: the next answer could not be told from them
            self.close()
            return
        self._answered = True
        try:
            self._take(sink, data)
        except (MalformedResponse, MalformedBody) as error:
            self._fail(f"sent a malformed response: {error}")
        sink.flush()

    def eof_received(self) -> bool:
        self._ended = True  # with TLS by a close_notify: anybody can cut a connection (RFC 9112 §9.8)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        transport, self._transport = self._transport, None
        self.is_reusable = False
        if exc is not None and transport is not None:
            self._take_rest(transport)
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if self._phase is _TUNNEL or (self._phase is _UNTIL_CLOSE and exc is None and self._ended):
            sink.end(b"")
            sink.flush()
        elif self._answered:
            sink.failed(UpstreamError(f"{self._name} closed the connection before its response was complete"))
        else:
            # What TLS says comes only now when the upstream wants a client certificate.
            why = f": {refusal(exc)}" if isinstance(exc, ssl.SSLError) else ""
            message = f"{self._name} closed the connection without an answer{why}"
            failure = UpstreamError(message, replayable=self._served)
            sink.failed(failure)

    def pause_writing(self) -> None:
        if self._sink is not None:
            self._sink.upload_paused(True)

    def resume_writing(self) -> None:
        if self._sink is not None:
            self._sink.upload_paused(False)

    # Inside

    def _take_rest(self, transport: asyncio.Transport) -> None:
        """Read what was there before our writing met the end: an answer that came before the whole request was read.

        The loop closes the socket after `connection_lost`. What TLS had still to say is lost.
        """
        sock = transport.get_extra_info("socket")
        if sock is None or transport.get_extra_info("ssl_object") is not None:
            return
        with contextlib.suppress(OSError):
            while self._sink is not None and (data := os.read(sock.fileno(), _READ_BYTES)):
                self.data_received(data)

    def _take(self, sink: ResponseSink, data: bytes) -> None:
        while self._phase is _HEAD:
            if self._partial:
                data, self._partial = self._partial + data, b""
            end = data.find(_END)
            if end < 0 or end > _HEAD_LIMIT:
                if len(data) > _HEAD_LIMIT:
                    raise MalformedResponse(f"its head is over {_HEAD_LIMIT} bytes")
                if not data.startswith(_START[: len(data)]):
                    raise MalformedResponse("it speaks something else than HTTP/1.1")
                self._partial = data
                return
            head, data = self._scanned(data[:end]), data[end + 4 :]
            if head.status >= 200:
                self._final(sink, head, data)
                return
            self._informational(sink, head)
            if not data:
                return
        self._content(sink, data)

    def _scanned(self, head: bytes) -> ResponseHead:
        """Within a second an upstream often writes the same."""
        if head == self._known_bytes and self._known is not None:
            return self._known
        found = scan_response(head)
        if len(head) <= _MOST_REMEMBERED:
            self._known_bytes, self._known = head, found
        return found

    def _informational(self, sink: ResponseSink, head: ResponseHead) -> None:
        self._interims += 1
        if head.status == 101:
            switched = _protocols(head.upgrade)
            if not switched or not switched <= _protocols(self._offered):
                raise MalformedResponse("it switched to a protocol that nobody asked for")
            self._phase, self.is_reusable = _TUNNEL, False
            sink.switched(head)
        elif self._interims > _MOST_INTERIM:
            raise MalformedResponse(f"more than {_MOST_INTERIM} informational responses")
        else:
            sink.interim(head)

    def _final(self, sink: ResponseSink, head: ResponseHead, data: bytes) -> None:
        body = head.body
        if head.closes:
            self.is_reusable = False
        self.idle = head.idle
        sink.response(head, body)
        if self._is_head or head.status in (204, 304) or body == NO_BODY:
            self._complete(sink, data)
            return
        if body == CHUNKED:
            self._phase, self._chunks = _CHUNKS, ChunkedBody()
        elif body == UNTIL_CLOSE:
            self._phase, self.is_reusable = _UNTIL_CLOSE, False
        else:
            self._phase, self._left = _LENGTH, body
        if not data or self._sink is None:
            return
        if body == len(data):  # a small one comes in one piece
            sink.data(data)
            self._complete(sink, b"")
        else:
            self._content(sink, data)

    def _content(self, sink: ResponseSink, data: bytes) -> None:
        if self._phase is _LENGTH:
            left = self._left - len(data)
            if left > 0:
                self._left = left
                sink.data(data)
            elif left == 0:
                sink.data(data)
                self._complete(sink, b"")
            else:
                sink.data(data[:left])
                self._complete(sink, data[left:])
        elif self._phase is _CHUNKS:
            assert self._chunks is not None
            pieces, end = self._chunks.feed(data)
            for piece in pieces:
                sink.data(piece)
            if end >= 0:
                self._complete(sink, data[end:], self._chunks.trailers)
        else:
            sink.data(data)

    def _complete(self, sink: ResponseSink, rest: bytes, trailers: bytes = b"") -> None:
        if self._sink is None:  # it had enough
            return
        self._sink, self._chunks, self._served = None, None, True
        if rest or not self._upload_done:  # `rest`: more than was promised, the start of an answer nobody asked for
            self.is_reusable = False
        sink.end(trailers)

    def _fail(self, reason: str) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.failed(UpstreamError(f"{self._name} {reason}", kind="malformed"))


def _protocols(listed: bytes) -> set[bytes]:
    return {name for one in listed.split(b",") if (name := one.strip(b" \t").lower())}
