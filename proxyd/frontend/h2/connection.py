"""One HTTP/2 connection of a client: a thin layer between its socket and the engine, which knows no socket.

No task, no future and no timer for a request: times are kept as moments that one sweep of the frontend looks at.
"""

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from proxyd.core.counters import Standing
from proxyd.frontend.client_socket import ClientSocket
from proxyd.frontend.h2.exchange import NEVER
from proxyd.proxy.exchange import Downstream
from proxyd.proxy.times import Times
from proxyd.upstream.taken import taken

if TYPE_CHECKING:
    from proxyd.frontend.h2.frontend import H2Frontend

_log = logging.getLogger("proxyd.h2")
#: What lies in buffers goes out before any small answer: so little of it.
_MOST_UNSENT: Final = 65_536
#: Frames that wait for a client that does not read, until it is not read any more either.
_MOST_HELD: Final = 512
_LINGER_SECONDS: Final = 2.0
#: So long a client has to say that it has heard of the end: then what it sent before has come as well.
_LAST_CALL_SECONDS: Final = 1.0


class H2Connection(ClientSocket, asyncio.Protocol):
    """Of one client."""

    __slots__ = (
        "_engine",
        "_is_closing",
        "_lost",
        "_owner",
        "_rested_after",
        "_times",
        "_was_busy",
    )

    def __init__(self, owner: "H2Frontend", downstream: Downstream, times: Times, lost: Callable[[], None]) -> None:
        super().__init__()
        self._owner = owner
        self._times = times
        self._lost = lost
        self._was_busy = self._is_closing = False
        self._rested_after = 0  # the last stream then
        self.deadline = NEVER
        self._engine = owner.engine(downstream, times, self._wake)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._transport.set_write_buffer_limits(high=_MOST_UNSENT, low=_MOST_UNSENT // 4)
        self.deadline = monotonic() + self._times.header
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        engine.receive(data)
        if not self._was_busy and engine.streams:
            self._was_busy = True
            if not engine.outbox.is_blocked:  # who asks again does not take more by that
                self.deadline = NEVER
            if self._owner.is_draining:
                engine.leave()
        if engine.outbox.is_blocked and engine.outbox.held > _MOST_HELD:
            self._read(False)

    def eof_received(self) -> None:
        """Nothing more comes: what is under way cannot be told from what was given up (RFC 9113 §5.4.1)."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.deadline = NEVER
        self._owner.gone(self)
        self._lost()
        self._engine.lost()

    def pause_writing(self) -> None:
        self._engine.outbox.is_blocked = True
        self.deadline = monotonic() + self._times.idle
        self._taken = taken(self._transport)

    def resume_writing(self) -> None:
        self._engine.outbox.is_blocked = False
        if not self._is_closing:
            if self._engine.is_leaving:
                self.deadline = monotonic() + _LAST_CALL_SECONDS
            else:
                self.deadline = NEVER if self._engine.streams else monotonic() + self._times.keepalive
            self._read(True)
        self._engine.outbox.wake()

    # For the frontend

    @property
    def downstream(self) -> Downstream:
        """Who is at the other end."""
        return self._engine.downstream

    @property
    def late_at(self) -> float:
        """When something of a request is due."""
        return self._engine.late_at

    @property
    def standing(self) -> Standing:
        """What operators are told that it does."""
        streams = self._engine.streams
        if self._is_closing:
            return "closing"
        if streams:
            return "tunnel" if all(one.is_tunnel for one in streams.values()) else "request"
        return "closing" if self._engine.is_leaving else "idle"

    def expired(self, now: float) -> None:
        """The client, or a sink, did not do in time what it had to."""
        engine = self._engine
        if engine.late_at <= now:
            engine.look(now)
        if self.deadline > now:
            return
        self.deadline = NEVER
        if engine.outbox.is_blocked or self._is_closing:
            self._cut_unless_slow(now, self._times.idle, self._owner.hit)
        elif not engine.streams:
            if not engine.is_leaving:
                self._owner.hit("keepalive_timeout" if engine.last else "header_timeout")
            engine.leave_now()
        elif engine.is_leaving:
            engine.leave_now()

    def close_when_idle(self, *, is_new_too: bool = True) -> None:
        """Serve what is under way, then close; who is new and has not asked yet may be let ask."""
        if is_new_too or self._engine.last:
            self._engine.leave()
            if not self._engine.outbox.is_blocked:  # who takes nothing just now hears of it when it does
                self.deadline = min(self.deadline, monotonic() + _LAST_CALL_SECONDS)

    def look_who_asks(self, is_crowd: Callable[[str], bool]) -> None:
        """Find out anew whether behind the other end are many clients."""
        self._engine.each_own = is_crowd(self._engine.downstream.peer)

    def cut(self, is_gone: Callable[[bytes], bool] | None = None) -> None:
        """Cut it, tunnels with last words; `is_gone`: only what is under way for such authorities."""
        self._engine.cut(is_gone)
        if is_gone is None:
            self._engine.leave_now()

    # Inside

    def _wake(self) -> None:
        self._owner.soon(self._flush)

    def _flush(self) -> None:
        engine = self._engine
        data = engine.take()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if data:
            transport.write(data)
        if not engine.streams:
            self._rest()

    def _rest(self) -> None:
        """Nothing is under way: wait for the next request, or close."""
        engine = self._engine
        if self._is_closing:
            return
        if engine.is_over:
            if engine.why or not engine.outbox.is_blocked:  # else what waits goes out first
                self._close()
        elif self._was_busy or self._rested_after != engine.last:
            self._was_busy, self._rested_after = False, engine.last
            if not engine.outbox.is_blocked:
                self.deadline = monotonic() + (_LAST_CALL_SECONDS if engine.is_leaving else self._times.keepalive)

    def _close(self) -> None:
        assert self._transport is not None
        if self._engine.why:
            _log.debug(
                "an HTTP/2 client was sent away",
                extra={"client": self._engine.downstream.peer, "reason": self._engine.why},
            )
        self._is_closing = True
        if self._engine.outbox.is_blocked and self._engine.why:  # it takes nothing, not even that
            self._transport.abort()
            return
        self._transport.close()
        self.deadline, self._taken = monotonic() + _LINGER_SECONDS, -1
