"""One HTTP/1.1 connection to an upstream: bytes in, events out, no task and no future per request."""

import asyncio
from dataclasses import dataclass
from typing import Protocol, cast

import httptools

from proxyd.core.header_rules import Field

_HEAD_LIMIT = 65_536


class UpstreamError(Exception):
    """The upstream failed. `replayable`: no byte of an answer came, on a connection that had served before."""

    def __init__(self, message: str, *, replayable: bool = False, timed_out: bool = False) -> None:
        super().__init__(message)
        self.replayable = replayable
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """Status line and fields as the upstream wrote them. `length`: bytes of body, None when not known."""

    status: int
    reason: bytes
    fields: list[Field]
    length: int | None


class ResponseSink(Protocol):
    """Who takes the answer. Calls come from the event loop, in order; after `end` or `failed` none follows."""

    def response(self, head: ResponseHead) -> None: ...
    def data(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def failed(self, error: UpstreamError) -> None: ...
    def flush(self) -> None:
        """All events of one read were given."""
        ...

    def upload_paused(self, paused: bool) -> None:
        """Stop (or continue) giving request bytes: the upstream does not take them."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """Carries one request at a time; `is_open` says whether it may carry another one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._transport: asyncio.Transport | None = None
        self._sink: ResponseSink | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._head_request = False
        self._served = 0
        self._upload_done = False
        self._answered = False  # any byte of the answer came
        self._head_done = False
        self._body_until_close = False
        self._reusable = True
        self._paused = False
        self._fields: list[Field] = []
        self._field_bytes = 0
        self._reason = b""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self._reusable

    def begin(self, sink: ResponseSink, head: bytes, *, is_head: bool, has_body: bool) -> None:
        """Send a request's head; its body follows by `write` and `finish`."""
        self._sink, self._head_request, self._upload_done = sink, is_head, not has_body
        self._answered = self._head_done = self._body_until_close = False
        self._fields, self._field_bytes, self._reason = [], 0, b""
        self.write(head)

    def write(self, data: bytes) -> None:
        """Send bytes of the request."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """Tell that the request is complete."""
        self._upload_done = True

    def pause(self) -> None:
        """Stop reading: the downstream is slow."""
        if self._transport is not None and not self._transport.is_closing() and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing() and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection; the sink hears nothing more."""
        self._sink, self._reusable = None, False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self._reusable = False
        if self._transport is not None:
            self._transport.close()

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
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("switched protocols although nobody asked")
        except httptools.HttpParserCallbackError as error:
            self._fail(str(error.__context__ or error))
        except httptools.HttpParserError as error:
            self._fail(f"sent a malformed response ({error})")
        sink.flush()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        del self._parser  # it holds us too: without a cycle all memory is given back at once
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if self._head_done and self._body_until_close and exc is None:
            sink.end()
            sink.flush()
        elif self._answered:
            sink.failed(UpstreamError(f"{self._name} closed the connection before its response was complete"))
        else:
            reused = self._served > 0
            sink.failed(UpstreamError(f"{self._name} closed the connection without an answer", replayable=reused))

    def pause_writing(self) -> None:
        if self._sink is not None:
            self._sink.upload_paused(True)

    def resume_writing(self) -> None:
        if self._sink is not None:
            self._sink.upload_paused(False)

    # httptools callbacks

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > _HEAD_LIMIT:
            raise ValueError(f"sent a response head of over {_HEAD_LIMIT} bytes")
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        if self._sink is None:  # a second response that nobody asked for
            self.close()
            return
        lengths = {value.strip() for name, value in self._fields if name.lower() == b"content-length"}
        chunked = any(name.lower() == b"transfer-encoding" for name, _ in self._fields)
        bodyless = self._head_request or status in (204, 304)
        length = int(lengths.pop()) if lengths and not chunked else None
        self._head_done = True
        self._body_until_close = not bodyless and not chunked and length is None
        self._reusable = self._reusable and self._parser.should_keep_alive() and not self._body_until_close
        self._sink.response(ResponseHead(status=status, reason=self._reason, fields=self._fields, length=length))
        if bodyless:
            # llhttp does not know of HEAD: it would take the next response for this one's body.
            self._parser = httptools.HttpResponseParser(self)
            self._complete()

    def on_body(self, data: bytes) -> None:
        if self._sink is None:
            self.close()
        else:
            self._sink.data(data)

    def on_message_complete(self) -> None:
        if not self._head_done:  # 1xx: the final response follows
            self._fields, self._reason = [], b""
        elif self._sink is not None:
            self._complete()

    def _complete(self) -> None:
        sink, self._sink = self._sink, None
        self._served += 1
        self._reusable = self._reusable and self._upload_done
        if sink is not None:
            sink.end()

    def _fail(self, reason: str) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.failed(UpstreamError(f"{self._name} {reason}"))
