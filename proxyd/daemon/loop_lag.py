"""How late the event loop is: what keeps it from its work keeps every client waiting."""

import asyncio

from proxyd.core.counters import Counters

_EVERY = 1.0


class LoopLag:
    """Looks once a second."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def run(self) -> None:
        """Look for ever. Ends only by cancellation."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY
            await asyncio.sleep(_EVERY)
            self._counters.lag(max(0.0, loop.time() - due))
