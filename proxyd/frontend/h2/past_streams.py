"""Streams that are over for us, of which frames may still come (RFC 9113 §5.1): the client has not heard of it yet."""

from collections.abc import Callable
from typing import Final

from proxyd.frontend.h2.conduct import TINY, cost_of_tiny
from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import NO_ERROR, STREAM_CLOSED, rst_stream, window_update

_MOST_RECENT: Final = 256
#: So many may go on sending a body that nobody needs, as clients do that read no answer before they have sent it all.
_MOST_UNFINISHED: Final = 16
UNFINISHED_SECONDS: Final = 1.0
#: What such a frame costs.
_HEADERS_COST, _DATA_COST = 1.0, 0.1


class _Unfinished:
    """A request that was answered before its end. `credit`: bytes by which its window may be widened."""

    __slots__ = ("credit", "until")

    def __init__(self, until: float, credit: int) -> None:
        self.until, self.credit = until, credit


class PastStreams:
    """Of one connection. `window`: of a stream. `put` sends a frame, `glitch` charges the client."""

    __slots__ = ("_glitch", "_put", "_recent", "_unfinished", "_window")

    def __init__(self, window: int, *, put: Callable[[bytes], None], glitch: Callable[[str, float], None]) -> None:
        self._window, self._put, self._glitch = window, put, glitch
        self._recent: dict[int, None] = {}
        self._unfinished: dict[int, _Unfinished] = {}

    @property
    def are_unfinished(self) -> bool:
        """Whether clients are still sending what nobody needs."""
        return bool(self._unfinished)

    def add(self, stream: int) -> None:
        """A stream was reset: let pass what the client sent before it hears of that."""
        self._recent[stream] = None
        if len(self._recent) > _MOST_RECENT:
            del self._recent[next(iter(self._recent))]

    def add_unfinished(self, stream: int, room: int, now: float) -> None:
        """A request was answered, whole, before its end; `room`: bytes that the client may send still.

        RFC 9113 §8.1 lets us ask for no more of it, with RST_STREAM (NO_ERROR). At once that made curl 7.88 forget the
        answer, and httpx wait for a window in vain: so what comes in a while is taken, and thrown away.
        """
        self.add(stream)
        self._unfinished[stream] = one = _Unfinished(now + UNFINISHED_SECONDS, self._window - room)
        self._widen(stream, one)
        if len(self._unfinished) > _MOST_UNFINISHED:
            self._reset(next(iter(self._unfinished)))

    def look(self, now: float) -> None:
        """Reset what was let go on long enough."""
        for stream in [number for number, one in self._unfinished.items() if one.until <= now]:
            self._reset(stream)

    def headers(self, stream: int, *, ends: bool) -> None:
        """HEADERS came on one. Raises ConnectionFault."""
        if stream not in self._recent:  # RFC 9113 §5.1
            raise ConnectionFault(STREAM_CLOSED, "HEADERS on a closed stream")
        if not (ends and self.finished(stream)):
            self._glitch("HEADERS on streams that are over", _HEADERS_COST)

    def data(self, stream: int, size: int, *, ends: bool, was_open: bool) -> None:
        """DATA came on one, or on one that was opened too late to be served. Raises ConnectionFault."""
        if was_open and stream not in self._recent:  # RFC 9113 §5.1
            raise ConnectionFault(STREAM_CLOSED, "DATA on a closed stream")
        one = self._unfinished.get(stream)
        if one is None:
            self._glitch("DATA on streams that are over", _DATA_COST)
        elif ends:
            self.finished(stream)
        else:
            if size < TINY:
                self._glitch("tiny pieces of bodies", cost_of_tiny(size, in_tunnel=False))
            one.credit += size
            self._widen(stream, one)

    def finished(self, stream: int) -> bool:
        """The client has ended one; return whether it had not before."""
        return self._unfinished.pop(stream, None) is not None

    def _widen(self, stream: int, one: _Unfinished) -> None:
        if one.credit >= self._window // 2:
            self._put(window_update(stream, one.credit))
            one.credit = 0

    def _reset(self, stream: int) -> None:
        del self._unfinished[stream]
        self._put(rst_stream(stream, NO_ERROR))
