"""How fast certificates are worked at: requests come first."""

import asyncio
from collections.abc import Callable

from proxyd.core.clock import Clock

#: Seconds from the beginning of one piece of work to that of the next. A piece, what leads to a request to a CA, takes
#: 1 to 3 ms of the event loop; a certificate has ten.
_SPACING = 0.025


async def at_once() -> None:
    """Wait for nothing: the pace of who serves nobody."""


class Pace:
    """Puts the pieces of all orders in one row, with room between them, while `is_serving`."""

    def __init__(self, *, is_serving: Callable[[], bool], clock: Clock, spacing: float = _SPACING) -> None:
        self._is_serving = is_serving
        self._clock = clock
        self._spacing = spacing
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next piece may begin: not at all when nobody asks anything of us."""
        if not self._is_serving():
            return
        now = self._clock.monotonic()
        mine = max(self._next, now)
        self._next = mine + self._spacing
        await asyncio.sleep(mine - now)
