"""A word for a person who waits, and only then."""

import asyncio

from proxyd.daemon.slow import told_if_slow


async def test_what_is_slow_is_told_once() -> None:
    told = asyncio.Event()
    count = 0

    async def tell() -> None:
        nonlocal count
        count += 1
        told.set()
        raise BrokenPipeError  # who asked has gone: the work goes on

    async def work() -> str:
        await told.wait()
        await asyncio.sleep(0)
        return "done"

    assert await told_if_slow(work(), tell, seconds=0.001) == "done"
    assert count == 1


async def test_what_is_quick_is_not() -> None:
    async def tell() -> None:
        raise AssertionError

    assert await told_if_slow(asyncio.sleep(0, "done"), tell, seconds=60) == "done"
