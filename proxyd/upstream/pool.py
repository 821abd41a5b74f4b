"""Connections to one upstream: idle ones are used again, for a short time."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic

from proxyd.config.upstream_trust import UpstreamTlsError
from proxyd.core.active_health import ActiveHealth
from proxyd.core.counters import ErrorKind
from proxyd.core.passive_health import PassiveHealth
from proxyd.upstream.connection import UpstreamConnection, UpstreamError
from proxyd.upstream.dialer import ConnectFailed, Dialer

_log = logging.getLogger("proxyd.upstream")
#: Shorter than the shortest keep-alive in use (Node: 5 s), else the upstream closes while a request is under way.
_IDLE_SECONDS = 4.0
#: How long before the upstream does we close an idle connection.
_AHEAD_SECONDS = 1.0
_MAX_IDLE = 128
#: So many begin to connect in one turn of the event loop.
_AT_ONCE = 32
_Done = Callable[[UpstreamConnection | UpstreamError], None]


class Dial:
    """A connection that is waited for; `anew`: none that served before."""

    __slots__ = ("anew", "done", "is_cancelled", "seconds", "task")

    def __init__(self, seconds: float, done: _Done, *, anew: bool) -> None:
        self.seconds, self.done, self.anew = seconds, done, anew
        self.task: asyncio.Task[None] | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Wait no more: `done` is not called."""
        self.is_cancelled = True
        if self.task is not None:
            self.task.cancel()


class UpstreamPool:
    """Lends connections; the borrower gives them back or aborts them. Connecting runs in the given task group.

    `active`: requests under way, counted by who has them, which are at most `most`. `checked`: what the checks say that
    are made of it. `errors`: how often it failed, and how. `answers`: how many it began, and the seconds of waiting.
    """

    __slots__ = (
        "_begun",
        "_idle",
        "_is_closed",
        "_sweep_at",
        "_sweeper",
        "_tasks",
        "_waiting",
        "active",
        "answers",
        "checked",
        "dialer",
        "errors",
        "most",
        "name",
        "passive",
    )

    def __init__(
        self,
        dialer: Dialer,
        *,
        tasks: asyncio.TaskGroup,
        errors: dict[ErrorKind, int],
        answers: list[float] | None = None,
        most: int = 10_000,
        checked: ActiveHealth | None = None,
        passive: PassiveHealth | None = None,
    ) -> None:
        self.dialer = dialer
        self.errors = errors
        self.answers = [0, 0.0] if answers is None else answers
        self.name = str(dialer.address)
        self.active = 0
        self.most = most
        self.passive = passive or PassiveHealth()
        self.checked = checked
        self._tasks = tasks
        self._idle: deque[tuple[float, UpstreamConnection]] = deque()
        self._waiting: list[Dial] = []
        self._begun = 0  # in this turn of the event loop
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self._is_closed = False

    def is_out(self, now: float) -> bool:
        """Return whether it gets no requests at present, or nobody could verify it. `now`: monotonic seconds."""
        fails_checks = self.checked is not None and self.checked.is_healthy is False
        return fails_checks or not self.passive.admits(now) or isinstance(self.dialer.trust, UpstreamTlsError)

    @property
    def under_way(self) -> int:
        """Return how many requests are under way there, of all processes that count together."""
        return self.active

    def take_idle(self) -> UpstreamConnection | None:
        """Return an open idle connection, or None: connect. The newest first: it lives longest."""
        while self._idle:
            _, connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    def connect(self, seconds: float, done: _Done, *, anew: bool = False) -> Dial:
        """Begin to connect, for so many seconds; `done` is called once, unless what is returned is cancelled.

        When many come at once, those that wait for the next turn of the event loop get what was given back by then: a
        thousand first requests would open, and keep the memory of, a thousand connections. Not what has to be `anew`.
        """
        dial = Dial(seconds, done, anew=anew)
        if self._waiting or self._begun >= _AT_ONCE:
            self._waiting.append(dial)
        else:
            self._begin(dial)
        return dial

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request, or let it go."""
        now, keep, told = monotonic(), _IDLE_SECONDS, connection.idle  # to get the loop takes a system call
        if told is not None and told - _AHEAD_SECONDS < keep:
            keep = told - _AHEAD_SECONDS
        until = min(now + keep, connection.until)
        if until <= now or not connection.is_reusable or len(self._idle) >= _MAX_IDLE or self._is_closed:
            connection.close()
            return
        self._idle.append((until, connection))
        if self._sweeper is None or until < self._sweep_at:
            self._sweep_in(until)

    @property
    def idle_until(self) -> float | None:
        """Return when an idle connection is closed next, by the loop's clock."""
        return self._sweep_at if self._sweeper is not None else None

    def close_idle(self) -> None:
        """Close what is idle; borrowed connections end with their requests."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self._idle.pop()[1].close()

    def close(self) -> None:
        """Keep no connection any more."""
        self._is_closed = True
        self.close_idle()

    def _sweep_in(self, until: float) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_at = until
        self._sweeper = asyncio.get_running_loop().call_at(until, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        self._sweeper = None
        kept: deque[tuple[float, UpstreamConnection]] = deque()
        for until, connection in self._idle:
            if until <= now or not connection.is_open:
                connection.close()
            else:
                kept.append((until, connection))
        self._idle = kept
        if kept:
            self._sweep_in(min(until for until, _ in kept))

    def _begin(self, dial: Dial) -> None:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._begun += 1
        dial.task = self._tasks.create_task(self._connect(dial.seconds, dial.done))

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < _AT_ONCE:
            dial = self._waiting.pop(0)
            if dial.is_cancelled:
                continue
            connection = None if dial.anew else self.take_idle()
            if connection is None:
                self._begin(dial)
            else:
                self._give(dial.done, connection)

    async def _connect(self, seconds: float, done: _Done) -> None:
        result: UpstreamConnection | UpstreamError
        try:
            result = await self.dialer.connect(seconds)
        except ConnectFailed as error:
            # Its traceback leads to this frame, and from here to the request: a cycle for each failure.
            result, error.__context__ = error.with_traceback(None), None
        except Exception as error:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
            _log.exception("connecting failed in an unforeseen way", extra={"upstream": self.name})
            result = ConnectFailed(f"{self.name} cannot be connected to ({type(error).__name__})", is_ours=True)
        if isinstance(result, UpstreamError):
            self.errors[result.kind] += 1
        self._give(done, result)

    def _give(self, done: _Done, result: UpstreamConnection | UpstreamError) -> None:
        try:
            done(result)
        except Exception:  # noqa: BLE001 - the root of a task or of a call by the event loop: others would end with it
            _log.exception("a request failed in an unforeseen way", extra={"upstream": self.name})
            if isinstance(result, UpstreamConnection):
                result.abort()
