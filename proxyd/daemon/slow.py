"""A word for a person who waits for something slow."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

_SECONDS = 3.0
T = TypeVar("T")


async def told_if_slow(work: Awaitable[T], tell: Callable[[], Awaitable[None]], *, seconds: float = _SECONDS) -> T:
    """Return what the work gives; call `tell` once when that takes longer. The work must not raise."""

    async def later() -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(OSError):  # who asked may have gone
            await tell()

    async with asyncio.TaskGroup() as group:
        word = group.create_task(later())
        try:
            return await work
        finally:
            word.cancel()
