"""What a channel does not take is tried again, and said once."""

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import pytest
from pydantic import SecretStr

from proxyd.admin.alert_courier import AlertCourier, Counts
from proxyd.admin.webhook_channel import WebhookChannel
from proxyd.core.notice import Notice
from proxyd.daemon.system_clock import SystemClock
from tests.support.notices import notice
from tests.support.receiver import Receiver, receiver


class Post:
    """A courier to a real server, with what it counted and delivered."""

    def __init__(self, server: Receiver) -> None:
        self.counts: Counts = Counter()
        self.delivered: list[Notice] = []
        clock = SystemClock()
        self.now = clock.now()
        channel = WebhookChannel(SecretStr(server.url), name="webhook x", secret=None, ca=None, clock=clock)
        self.courier = AlertCourier(channel, counts=self.counts, clock=clock, delivered=self.delivered.append)

    async def run_until(self, count: int) -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self.courier.run())
            while len(self.delivered) < count:  # noqa: ASYNC110 - two tasks of one loop
                await asyncio.sleep(0.01)
            running.cancel()


async def test_in_order_and_again_until_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("proxyd.admin.alert_courier._FIRST_PAUSE", 0.01)
    with receiver() as server, caplog.at_level(logging.INFO, "proxyd.alerts"):
        server.statuses += [500, 503, 500]
        post = Post(server)
        notices = [notice(f"{number}.example", at=post.now) for number in range(3)]
        for one in notices:
            post.courier.put(one)
        await post.run_until(3)
    assert post.delivered == notices
    assert [one["troubles"][0]["hosts"] for one in server.documents] == [["0.example"]] * 4 + [
        ["1.example"],
        ["2.example"],
    ]
    assert post.counts == {("webhook", "failed"): 3, ("webhook", "delivered"): 3}
    assert [one.message for one in caplog.records] == [
        "an alert channel does not work: what is to be told waits and is tried again",
        "the alert channel works again",
    ]


async def test_too_many_and_too_old_ones_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as server:
        post = Post(server)
        for number in range(101):
            post.courier.put(notice(f"{number}.example", at=post.now))
        assert len(post.courier.waiting) == 100
        assert post.counts == {("webhook", "dropped"): 1}
        await post.courier.flush()
        assert len(post.delivered) == 100
        server.statuses += [500]
        post.courier.put(notice(at=post.now - timedelta(days=2)))
        await post.courier.flush()
    assert post.counts["webhook", "dropped"] == 2
    assert "an alert was given up" in caplog.text
