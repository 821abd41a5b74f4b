"""Connections to one upstream: idle ones are used again, for a short time."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from proxyd.config.values import UpstreamAddress
from proxyd.upstream.connection import UpstreamConnection, UpstreamError

_log = logging.getLogger("proxyd.upstream")
#: Shorter than the shortest keep-alive in use (Node: 5 s), else the upstream closes while a request is under way.
_IDLE_SECONDS = 4.0
_MAX_IDLE = 128


class UpstreamPool:
    """Lends connections; the borrower gives them back or aborts them. Connecting runs in the given task group."""

    def __init__(self, address: UpstreamAddress, *, tasks: asyncio.TaskGroup) -> None:
        self.address = address
        self._tasks = tasks
        self._idle: deque[tuple[float, UpstreamConnection]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    def take_idle(self) -> UpstreamConnection | None:
        """Return an open idle connection, or None: connect. The newest first: it lives longest."""
        while self._idle:
            _, connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    def connect(
        self, timeout: timedelta, done: Callable[[UpstreamConnection | UpstreamError], None]
    ) -> asyncio.Task[None]:
        """Begin to connect; `done` is called once, unless the returned task is cancelled first."""
        return self._tasks.create_task(self._connect(timeout, done))

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request, or let it go."""
        if not connection.is_open or len(self._idle) >= _MAX_IDLE:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((loop.time() + _IDLE_SECONDS, connection))
        if self._sweeper is None:
            self._sweeper = loop.call_later(_IDLE_SECONDS, self._sweep)

    def close(self) -> None:
        """Close what is idle; borrowed connections end with their requests."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self._idle.pop()[1].close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = None
        while self._idle and self._idle[0][0] <= loop.time():
            self._idle.popleft()[1].close()
        if self._idle:
            self._sweeper = loop.call_at(self._idle[0][0], self._sweep)

    async def _connect(self, timeout: timedelta, done: Callable[[UpstreamConnection | UpstreamError], None]) -> None:
        loop = asyncio.get_running_loop()
        name = str(self.address)
        result: UpstreamConnection | UpstreamError
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                _, result = await loop.create_connection(
                    lambda: UpstreamConnection(name), self.address.host, self.address.port
                )
        except TimeoutError:
            seconds = timeout.total_seconds()
            result = UpstreamError(f"{name} did not accept a connection within {seconds:g} s", timed_out=True)
        except OSError as error:
            result = UpstreamError(f"{name} cannot be reached: {error.strerror or error}; is it running?")
        try:
            done(result)
        except Exception:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
            _log.exception("a request failed in an unforeseen way", extra={"upstream": name})
            if isinstance(result, UpstreamConnection):
                result.abort()
