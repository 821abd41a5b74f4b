"""A dead man's switch at a real server."""

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import pytest
from pydantic import SecretStr

from proxyd.admin.alert_courier import Counts
from proxyd.admin.heartbeat import Heartbeat
from tests.support.receiver import receiver


async def test_it_beats_only_while_all_is_well_and_says_why_not(caplog: pytest.LogCaptureFixture) -> None:
    ails: list[str] = []
    with receiver() as server, caplog.at_level(logging.INFO, "proxyd.alerts"):
        beat = Heartbeat(
            SecretStr(server.url),
            name="heartbeat x",
            interval=timedelta(milliseconds=20),
            ca=None,
            counts=Counter(),
            ailing=lambda: ails[0] if ails else None,
        )
        server.statuses += [500, 500]
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(beat.run())

            async def more(count: int) -> None:
                wanted = len(server.received) + count
                while len(server.received) < wanted:  # noqa: ASYNC110 - another thread's
                    await asyncio.sleep(0.01)

            await more(4)
            ails.append("the disk is full")
            while "the daemon ails" not in caplog.text:  # noqa: ASYNC110 - two tasks of one loop
                await asyncio.sleep(0.01)
            silent = len(server.received)
            await asyncio.sleep(0.2)
            assert len(server.received) == silent
            ails.clear()
            await more(2)
            running.cancel()
    assert {one.method for one in server.received} == {"GET"}
    assert [one.message for one in caplog.records] == [
        "no heartbeat can be sent",
        "heartbeats are sent again",
        "no heartbeat is sent: the daemon ails",
        "the daemon is well: heartbeats are sent",
    ]


async def test_what_nobody_foresaw_is_a_failure_of_this_one(caplog: pytest.LogCaptureFixture) -> None:
    counts: Counts = Counter()
    beat = Heartbeat(
        SecretStr("http://[broken/"),
        name="heartbeat x",
        interval=timedelta(seconds=1),
        ca=None,
        counts=counts,
        ailing=lambda: None,
    )
    assert not await beat.send()
    assert not await beat.send()
    assert counts == {("heartbeat", "failed"): 2}
    assert "this is a bug of proxyd" in str(caplog.records[-1].__dict__["reason"])
    assert len(caplog.records) == 2, "said once"
