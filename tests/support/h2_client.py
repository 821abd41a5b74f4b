"""An HTTP/2 client that sends any frames, well-formed or not. Fields are coded by the `hpack` package."""

import contextlib
import itertools
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

import hpack

from tests.support.raw_client import RawClient, Truncated

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, CALM = 1, 7, 8, 11
_SETTINGS = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "list": 6}
_SECONDS = 10.0

Fields = Iterable[tuple[str, str]]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return a frame, whatever its parts say."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values: int) -> bytes:
    """Return a SETTINGS frame; names are short."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", _SETTINGS[one], value) for one, value in values.items()))


def rst(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window_update(stream: int, amount: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", amount))


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Answer:
    """What came on a stream. `reset`: the code of a RST_STREAM; `trailers` and `interims` as lists of fields."""

    interims: list[dict[str, str]] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    is_whole: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(dict(self.fields)[":status"]) if self.fields else 0


class SentAway(Exception):
    """A GOAWAY came that tells of an error."""

    def __init__(self, last: int, code: int) -> None:
        super().__init__(f"GOAWAY, last stream {last}, error {code}")
        self.last, self.code = last, code


class H2Client:
    """One connection. It answers PING and SETTINGS, and widens the connection's window; streams' only where told."""

    def __init__(self, raw: RawClient, name: str, values: Mapping[str, int]) -> None:
        self.raw = raw
        self.name = name
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.streams: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.settings: dict[int, int] = {}
        self.windows: dict[int, int] = {}  # what we may send more, beside the first ones
        self.pongs: list[bytes] = []
        self.widens = self.acknowledges = True
        self._next = 1
        assert raw.socket.selected_alpn_protocol() == "h2"
        raw.send(PREFACE + settings(**values))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.raw.__exit__(kind, error, at)

    # Sending

    def send(self, *frames: bytes) -> None:
        self.raw.send(b"".join(frames))

    def head(self, fields: Fields, *, ends: bool = True, stream: int | None = None, flags: int = END_HEADERS) -> bytes:
        """Return a HEADERS frame on the next stream, which is told by `last`."""
        if stream is None:
            stream, self._next = self._next, self._next + 2
        block = self.encoder.encode(fields)
        return frame(HEADERS, flags | (END_STREAM if ends else 0), stream, block)

    def fields(self, path: str = "/", method: str = "GET", *more: tuple[str, str]) -> list[tuple[str, str]]:
        start = [(":method", method), (":scheme", "https"), (":authority", self.name), (":path", path)]
        return [*start, *more]

    @property
    def last(self) -> int:
        """The stream that was opened last."""
        return self._next - 2

    def get(self, path: str = "/", *more: tuple[str, str]) -> int:
        """Ask, and return the stream."""
        self.send(self.head(self.fields(path, "GET", *more)))
        return self.last

    def post(self, path: str, *bodies: bytes, ends: bool = True, more: Fields = ()) -> int:
        """Send a request with a body in pieces, and return the stream."""
        self.send(self.head(self.fields(path, "POST", *more), ends=False))
        stream = self.last
        for place, body in enumerate(bodies, 1):
            self.send(frame(DATA, END_STREAM if ends and place == len(bodies) else 0, stream, body))
        return stream

    # Receiving

    def frame(self, *, seconds: float = _SECONDS) -> Frame:
        """Return the next frame. Raises Truncated, TimeoutError."""
        head = self.raw.exactly(9, seconds=seconds)
        size = int.from_bytes(head[:3])
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return Frame(kind, flags, stream, self.raw.exactly(size, seconds=seconds))

    def step(self, *, seconds: float = _SECONDS) -> Frame:
        """Take the next frame, and do what has to be done. Raises SentAway, Truncated, TimeoutError."""
        one = self.frame(seconds=seconds)
        kind, flags, stream, payload = one
        answer = self.streams.setdefault(stream, Answer()) if stream else Answer()
        if kind == HEADERS:
            assert flags & END_HEADERS
            self._fields(answer, [(str(a), str(b)) for a, b in self.decoder.decode(payload)])
        elif kind == DATA:
            answer.body += payload
            if self.widens and payload:
                self.send(window_update(0, len(payload)))
        elif kind == RST_STREAM:
            answer.reset = int.from_bytes(payload)
        elif kind == SETTINGS and not flags & ACK:
            self.settings = dict(struct.unpack_from(">HI", payload, at) for at in range(0, len(payload), 6))
            if self.acknowledges:
                self.send(frame(SETTINGS, ACK))
        elif kind == PING:
            if flags & ACK:
                self.pongs.append(payload)
            else:
                self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self.windows[stream] = self.windows.get(stream, 0) + int.from_bytes(payload)
        elif kind == GOAWAY:
            last, code = struct.unpack_from(">II", payload)
            self.goaways.append((last, code))
            if code:
                raise SentAway(last, code)
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            answer.is_whole = True
        return one

    def answer(self, stream: int, *, seconds: float = _SECONDS) -> Answer:
        """Return what came on a stream when it is whole, or was reset."""
        deadline = time.monotonic() + seconds
        while not (one := self.streams.setdefault(stream, Answer())).is_whole and one.reset is None:
            self.step(seconds=max(0.01, deadline - time.monotonic()))
        return one

    def asks(self, path: str = "/", *more: tuple[str, str], seconds: float = _SECONDS) -> Answer:
        """Ask and return the answer."""
        return self.answer(self.get(path, *more), seconds=seconds)

    def settle(self) -> None:
        """Wait until all was read that was sent: a PING is answered in order."""
        mark = struct.pack(">Q", time.monotonic_ns() & 0xFFFF_FFFF_FFFF)
        self.send(frame(PING, 0, 0, mark))
        while mark not in self.pongs:
            self.step()

    def error(self, *, seconds: float = _SECONDS) -> int:
        """Return the error that ends the connection."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self.step(seconds=max(0.01, deadline - time.monotonic()))
        except SentAway as away:
            return away.code

    def flood(self, frames: Iterator[bytes], *, most: int, at_once: int = 50) -> int:
        """Send so many frames, or until the other side had enough; return its error, -1: it had not."""
        with contextlib.suppress(Truncated):
            for _ in range(most // at_once):
                self.send(*itertools.islice(frames, at_once))
                try:
                    while True:
                        self.step(seconds=0.01)
                except TimeoutError:
                    continue
                except SentAway as away:
                    return away.code
        return self.goaways[-1][1] if self.goaways else -1

    @staticmethod
    def _fields(answer: Answer, found: list[tuple[str, str]]) -> None:
        status = dict(found).get(":status", "")
        if answer.fields:
            answer.trailers = found
        elif status.startswith("1"):
            answer.interims.append(dict(found))
        else:
            answer.fields = found
