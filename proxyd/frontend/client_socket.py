"""What a client's connection does with its socket, whichever version of HTTP it speaks."""

import asyncio
from collections.abc import Callable
from typing import Any

from proxyd.core.counters import Limit
from proxyd.upstream.taken import taken, unsent


class ClientSocket:
    """`deadline`: what the client has to do by then, in monotonic seconds; who inherits moves it."""

    __slots__ = ("_is_reading", "_taken", "_transport", "deadline")

    deadline: float

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._is_reading = True
        self._taken = -1  # what the client had taken when that was looked at

    @property
    def came_to(self) -> tuple[Any, ...] | None:
        """The address of ours that the client reached."""
        return None if self._transport is None else self._transport.get_extra_info("sockname")

    def abandon(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _read(self, wanted: bool) -> None:
        if wanted is self._is_reading or self._transport is None or self._transport.is_closing():
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _cut_unless_slow(self, now: float, seconds: float, hit: Callable[[Limit | None], None]) -> None:
        """Cut who took nothing by its deadline; who takes what it gets, slowly, has so many seconds more."""
        left = unsent(self._transport)
        if left and (count := taken(self._transport)) != self._taken:
            self._taken, self.deadline = count, now + seconds
            return
        hit("idle_timeout" if left else None)
        self.abandon()
