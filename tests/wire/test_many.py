"""Thousands of clients at a time: another host is asked ten times a second and never fails, and memory comes back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.support.cached import for_anybody, get, start_cached, status, tls
from tests.support.crowd import Crowd, Member, descriptors, patient_upstream
from tests.support.daemon import DaemonProcess, eventually
from tests.support.prober import probed

HOST, OTHER = "host.example.test", "other.example.test"


@dataclass(frozen=True, kw_only=True)
class Many:
    """So many that `begin` and `go_on`, and what they may leave of memory."""

    count: int
    begin: Callable[[Member], Awaitable[None]]
    go_on: Callable[[Member], Awaitable[None]]
    mib_at_most: int


STALLED = Many(count=1000, begin=Member.half_a_hello, go_on=Member.is_let, mib_at_most=20)
SLOW = Many(count=1000, begin=Member.ask_for_much, go_on=Member.read_a_little, mib_at_most=800)
OPEN = Many(count=5000, begin=Member.ask_for_little, go_on=Member.is_answered, mib_at_most=300)
#: What a process may keep: caches fill, the first of everything is made.
KEPT_KIB = 20_000


@pytest.mark.parametrize(
    ("many", "workers"),
    [(STALLED, 1), (STALLED, 2), (SLOW, 1), (SLOW, 2), (OPEN, 2)],
    ids=lambda one: str(one) if isinstance(one, int) else one.begin.__name__,
)
def test_many_cost_little_and_nobody_else_anything(daemon: DaemonProcess, many: Many, workers: int) -> None:
    def ask() -> None:
        assert status(tls(daemon.https_port, OTHER, get(OTHER))) == 200

    async def come_and_go() -> None:
        async with Crowd(daemon.https_port, HOST, for_anybody()) as crowd:
            members = await crowd.gather(many.count, many.begin)
            assert daemon.rss_kib() - before < many.mib_at_most << 10
            for one in members:
                await asyncio.wait_for(many.go_on(one), 10)

    with descriptors(15_000), patient_upstream() as port, patient_upstream() as other:
        start_cached(daemon, {HOST: port, OTHER: other}, workers=workers, log={"level": "info"})
        for _ in range(30):
            ask()
        before = daemon.rss_kib()
        with probed(ask):
            asyncio.run(come_and_go(), debug=False)
            eventually(lambda: daemon.rss_kib() - before < KEPT_KIB, what=lambda: f"{before}, {daemon.rss_kib()} KiB")
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()
