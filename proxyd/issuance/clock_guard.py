"""Looks whether the machine's clock can be believed, tells when it cannot, and has the CAs asked what time it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxyd.core.clock_watch import Doubt
from proxyd.issuance.memory import Memory
from proxyd.issuance.steady_clock import SteadyClock

_log = logging.getLogger("proxyd.clock")
_LOOK_SECONDS = 2.0
_ASK_SECONDS = 60.0
_LOOKS_ALONE = 5  # 18 minutes
_PAUSES = (0.0, 60.0, 120.0, 300.0, 600.0, 3600.0)


class ClockGuard:
    """`ask` has every CA asked for its time, and raises nothing. It returns whether there is any.

    Without one the machine's clock is all there is. When it went ahead it is believed at once: a machine that keeps no
    time while it is off has got it. When it went back, after some looks: NTP may be about to right it.

    `righted` hears when the time was corrected, or the machine's clock agrees again: by a wrong one the certificates of
    the CAs seem invalid too.
    """

    def __init__(
        self,
        clock: SteadyClock,
        *,
        memory: Memory,
        ask: Callable[[], Awaitable[bool]],
        righted: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._memory = memory
        self._ask = ask
        self._righted = righted
        self._steps = clock.steps
        self._told: str | None = None
        self._asked = 0
        self._ask_at = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing may be ordered: the time is not known, or what a wrong one made due is not undone yet."""
        doubt = self._clock.doubt
        return (doubt is not None and doubt.holds) or not self._are_told

    @property
    def is_sure(self) -> bool:
        """Whether a CA has confirmed the time, and all have heard of its correction."""
        return self._are_told and self._clock.is_confirmed and self._clock.doubt is None

    @property
    def _are_told(self) -> bool:
        """Whether all have heard when the clock agreed again, or was corrected."""
        return self._steps == self._clock.steps and (self._told is None or self._clock.doubt is not None)

    @property
    def doubt(self) -> Doubt | None:
        """Return why the clock is not believed, or None."""
        return self._clock.doubt

    async def run(self) -> None:
        """Look, for ever. Ends only by cancellation."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Look once; ask the CAs when that is due."""
        doubt = self._notice()
        if doubt is None or not doubt.asks:
            self._asked, self._ask_at = 0, 0.0
        elif self._clock.monotonic() >= self._ask_at:
            self._asked += 1
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    if not await self._ask() and (self._clock.is_behind or self._asked >= _LOOKS_ALONE):
                        self._clock.dated("this machine", None)
            except TimeoutError:
                _log.info("no CA says what time it is", extra={"next": "asked again later"})
            self._ask_at = self._clock.monotonic() + _PAUSES[min(self._asked, len(_PAUSES) - 1)]
            self._notice()

    def _notice(self) -> Doubt | None:
        doubt = self._clock.doubt
        reason, told = doubt.reason if doubt else None, self._told
        self._told = reason
        is_right = told is not None and reason is None
        if reason is not None and told is None:
            _log.error("the clock is not believed", extra={"reason": reason})
            self._memory.note("clock doubted", None, None, reason=reason)
        elif is_right:
            _log.warning("the clock is believed again", extra={"now": self._clock.now()})
            self._memory.note("clock believed", None, None)
        if self._clock.steps != self._steps:
            self._steps = self._clock.steps
            is_right = True
            _log.warning("the time was corrected", extra={"now": self._clock.now()})
        if is_right:
            self._righted()
        return doubt
