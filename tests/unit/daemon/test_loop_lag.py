"""The event loop's delay."""

import asyncio
import time

import pytest

from proxyd.core.counters import LAGS, Counters
from proxyd.daemon import loop_lag
from proxyd.daemon.loop_lag import LoopLag


async def test_what_blocks_the_loop_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "_EVERY", 0.01)
    counters = Counters()
    task = asyncio.ensure_future(LoopLag(counters).run())
    await asyncio.sleep(0)
    time.sleep(0.13)  # noqa: ASYNC251 - what it looks for
    await asyncio.sleep(0)  # it is due: the loop runs it before what comes next
    await asyncio.sleep(0.01)
    task.cancel()
    assert counters.lags[LAGS.index(0.25) :] != [0, 0, 0]
    assert counters.lag_seconds > 0.1
