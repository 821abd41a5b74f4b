"""Takes frames off the bytes of an HTTP/2 client, and field blocks out of them (RFC 9113 §3.4, §4, §6)."""

from collections.abc import Callable
from typing import Protocol

from proxyd.frontend.h2 import frames
from proxyd.frontend.h2.fault import ConnectionFault, StreamFault
from proxyd.frontend.h2.frames import (
    FRAME_HEAD,
    FRAME_SIZE_ERROR,
    HEADERS,
    MAX_FRAME,
    PREFACE,
    PROTOCOL_ERROR,
    unpack_head,
)


class FrameSink(Protocol):
    """Who takes the frames, in order. Its methods may raise ConnectionFault, and StreamFault on a stream."""

    def data(self, stream: int, payload: bytes, size: int, *, ends: bool) -> None:
        """A piece of a body; `size`: with its padding, as flow control counts it."""
        ...

    def headers(self, stream: int, block: bytes, *, ends: bool, depends_on_itself: bool) -> None: ...
    def rst_stream(self, stream: int) -> None: ...
    def settings(self, values: list[tuple[int, int]]) -> None: ...
    def ping(self, payload: bytes, *, ack: bool) -> None: ...
    def goaway(self) -> None: ...
    def window_update(self, stream: int, amount: int) -> None: ...
    def glitch(self, why: str, amount: float = 1.0) -> None:
        """Something came that brings nothing."""
        ...

    def broken(self, stream: int, fault: StreamFault) -> None:
        """A stream has to end."""
        ...


class _Block:
    """A field block that is not complete (RFC 9113 §6.10)."""

    __slots__ = ("began", "count", "data", "depends_on_itself", "ends", "stream")

    def __init__(self, stream: int, data: bytes, began: float, *, ends: bool, depends_on_itself: bool) -> None:
        self.stream, self.data, self.began = stream, bytearray(data), began
        self.ends, self.depends_on_itself = ends, depends_on_itself
        self.count = 0


class FrameReader:
    """Of one connection. `most_block`: bytes of a field block; `most_continued`: frames that it is continued in."""

    __slots__ = ("_block", "_has_begun", "_most_block", "_most_continued", "_needs", "_now", "_partial", "_sink")

    def __init__(self, sink: FrameSink, *, most_block: int, most_continued: int, now: Callable[[], float]) -> None:
        self._sink = sink
        self._most_block, self._most_continued = most_block, most_continued
        self._now = now
        self._partial = b""
        self._needs = len(PREFACE) + FRAME_HEAD
        self._has_begun = False
        self._block: _Block | None = None

    @property
    def block_began(self) -> float | None:
        """When the field block began that is not complete."""
        return None if self._block is None else self._block.began

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises ConnectionFault."""
        if self._partial:
            data = self._partial + data
            if len(data) < self._needs:
                self._partial = data
                return
            self._partial = b""
        at = 0 if self._has_begun else self._begin(data)
        if at < 0:
            self._partial = data
            return
        end = len(data)
        while end - at >= FRAME_HEAD:
            high, low, kind, flags, stream = unpack_head(data, at)
            size = high << 16 | low
            if size > MAX_FRAME:  # RFC 9113 §4.2: what we did not ask for
                raise ConnectionFault(FRAME_SIZE_ERROR, "a frame that is too large")
            start = at + FRAME_HEAD
            at = start + size
            if at > end:
                self._needs, at = FRAME_HEAD + size, start - FRAME_HEAD
                break
            stream &= 0x7FFFFFFF  # RFC 9113 §4.1: the first bit means nothing
            try:
                if kind == HEADERS and self._block is None:
                    self._headers(flags, stream, data[start:at])
                else:
                    self._frame(kind, flags, stream, data[start:at], size)
            except StreamFault as fault:
                self._sink.broken(stream, fault)
        else:
            self._needs = FRAME_HEAD
        if at < end:
            self._partial = data[at:] if at else data

    def _begin(self, data: bytes) -> int:
        """Return where the first frame ends that has to be SETTINGS begins, or -1: that is not known yet."""
        if not data.startswith(PREFACE[: len(data)]):  # RFC 9113 §3.4
            raise ConnectionFault(PROTOCOL_ERROR, "something else than HTTP/2")
        if len(data) < self._needs:
            return -1
        start = len(PREFACE)
        _, _, kind, flags, _ = unpack_head(data, start)
        if kind != frames.SETTINGS or flags & frames.ACK:
            raise ConnectionFault(PROTOCOL_ERROR, "a first frame that is not SETTINGS")
        self._has_begun = True
        return start

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes, size: int) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream != self._block.stream):
            raise ConnectionFault(PROTOCOL_ERROR, "another frame inside a field block")  # RFC 9113 §6.10
        if kind == frames.DATA:
            if not stream:
                raise ConnectionFault(PROTOCOL_ERROR, "DATA on no stream")  # RFC 9113 §6.1
            if flags & frames.PADDED:
                payload = _unpadded(payload)
            self._sink.data(stream, payload, size, ends=bool(flags & frames.END_STREAM))
        elif kind == frames.WINDOW_UPDATE:
            if size != 4:  # RFC 9113 §6.9
                raise ConnectionFault(FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size")
            self._sink.window_update(stream, int.from_bytes(payload) & 0x7FFFFFFF)
        elif kind == frames.RST_STREAM:
            if not stream:
                raise ConnectionFault(PROTOCOL_ERROR, "RST_STREAM on no stream")  # RFC 9113 §6.4
            if size != 4:
                raise ConnectionFault(FRAME_SIZE_ERROR, "a RST_STREAM of another size")
            self._sink.rst_stream(stream)
        elif kind == frames.CONTINUATION:
            self._continuation(flags, payload)
        elif kind == frames.PRIORITY:
            self._priority(stream, payload)
        elif kind == frames.PUSH_PROMISE:  # RFC 9113 §8.4
            raise ConnectionFault(PROTOCOL_ERROR, "PUSH_PROMISE of a client")
        elif kind in (frames.SETTINGS, frames.PING, frames.GOAWAY):
            self._of_connection(kind, flags, stream, payload)
        else:  # RFC 9113 §5.5; PRIORITY_UPDATE (RFC 9218 §7.1) among them
            self._sink.glitch("frames of unknown kinds")

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream & 1:  # RFC 9113 §5.1.1, §6.2
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS on a stream that no client opens")
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        depends_on_itself = False
        if flags & frames.WITH_PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS that are too short")
            depends_on_itself = int.from_bytes(payload[:4]) & 0x7FFFFFFF == stream  # RFC 7540 §5.3.1
            payload = payload[5:]
        ends = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self._sink.headers(stream, payload, ends=ends, depends_on_itself=depends_on_itself)
        else:
            self._block = _Block(stream, payload, self._now(), ends=ends, depends_on_itself=depends_on_itself)

    def _continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION of nothing")  # RFC 9113 §6.10
        block.count += 1
        if not payload:
            self._sink.glitch("empty CONTINUATION frames")
        if len(block.data) + len(payload) > self._most_block or block.count > self._most_continued:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "a field block that does not end", "http2_header_block")
        block.data += payload
        if flags & frames.END_HEADERS:
            self._block = None
            self._sink.headers(
                block.stream, bytes(block.data), ends=block.ends, depends_on_itself=block.depends_on_itself
            )

    def _priority(self, stream: int, payload: bytes) -> None:
        """RFC 9113 §5.3.2: it means nothing any more."""
        if not stream:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY on no stream")
        self._sink.glitch("PRIORITY frames")
        if len(payload) != 5:  # RFC 9113 §6.3
            raise StreamFault(FRAME_SIZE_ERROR, "a PRIORITY of another size")
        if int.from_bytes(payload[:4]) & 0x7FFFFFFF == stream:  # RFC 7540 §5.3.1
            raise StreamFault(PROTOCOL_ERROR, "a stream that depends on itself")

    def _of_connection(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if stream:  # RFC 9113 §6.5, §6.7, §6.8
            raise ConnectionFault(PROTOCOL_ERROR, "a frame of the connection on a stream")
        if kind == frames.SETTINGS:
            is_ack = flags & frames.ACK
            if (is_ack and payload) or len(payload) % 6:
                raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of another size")
            if is_ack:
                self._sink.glitch("acknowledgements of SETTINGS")
            else:
                found = [frames.unpack_setting(payload, at) for at in range(0, len(payload), 6)]
                self._sink.settings(found)
        elif kind == frames.PING:
            if len(payload) != 8:
                raise ConnectionFault(FRAME_SIZE_ERROR, "a PING of another size")
            self._sink.ping(payload, ack=bool(flags & frames.ACK))
        else:
            if len(payload) < 8:
                raise ConnectionFault(FRAME_SIZE_ERROR, "a GOAWAY that is too short")
            self._sink.goaway()


def _unpadded(payload: bytes) -> bytes:
    """RFC 9113 §6.1."""
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "padding without its length")
    size = payload[0]
    if size >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "padding that is longer than its frame")
    return payload[1 : len(payload) - size]
