"""So many at a time, the newest first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NewestFirst:
    """Of those who wait for a turn the last to come is the next: in a flood the first are about to give up.

    Whoever is cancelled while waiting takes no turn.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[asyncio.Future[None], None] = {}

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place, and have it meanwhile."""
        await self._take()
        try:
            yield
        finally:
            self._give()

    async def _take(self) -> None:
        if self._free:
            self._free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[mine] = None
        try:
            await mine
        except asyncio.CancelledError:
            self._waiting.pop(mine, None)
            if not mine.cancelled():  # it was given to us at the same time
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            newest, _ = self._waiting.popitem()
            if not newest.done():
                newest.set_result(None)
                return
        self._free += 1
