"""Who gets the next request."""

import gc
import time
from itertools import repeat

from proxyd.core.passive_health import FAILURES
from proxyd.upstream.connection import UpstreamError
from proxyd.upstream.group import UpstreamGroup
from proxyd.upstream.pool import UpstreamPool
from tests.support.pools import made_group

CLIENT = "192.0.2.1"


def fail(group: UpstreamGroup, pool: UpstreamPool) -> None:
    for _ in range(FAILURES):
        group.failed(pool, UpstreamError("it broke off"))


async def test_who_was_tried_is_not_picked_again() -> None:
    async with made_group(1, 2, balance="first") as group:
        one, two = group.pools
        assert group.pick(CLIENT) is one
        assert group.pick(CLIENT, (one,)) is two
        assert group.pick(CLIENT, (one, two)) is None
    async with made_group(1) as group:
        assert group.pick(CLIENT, group.pools) is None


async def test_who_failed_is_left_out_until_one_probe() -> None:
    async with made_group(1, 2, balance="first") as group:
        one, two = group.pools
        fail(group, one)
        assert group.pick(CLIENT) is two
        fail(group, two)
        assert group.pick(CLIENT) is None
        reason, seconds = group.unavailable()
        assert reason.startswith(
            "no upstream is available: http://127.0.0.1:1 failed three times in a row and is tried"
        )
        assert 9 <= seconds <= 10
        one.passive.out_until = time.monotonic()
        assert [group.pick(CLIENT), group.pick(CLIENT)] == [one, None]
        group.worked(one)
        assert [group.pick(CLIENT), group.pick(CLIENT)] == [one, one]


async def test_one_that_is_alone_is_always_tried() -> None:
    for health in (None, {"path": "/"}):
        async with made_group(1, health=health) as group:
            fail(group, group.pools[0])
            assert group.pick(CLIENT) is group.pools[0]


async def test_who_has_enough_gets_no_more() -> None:
    async with made_group(1, 2, max_upstream_connections=2) as group:
        for pool in group.pools:
            pool.active = 2
        group.pools[1].active = 1
        assert group.pick(CLIENT) is group.pools[1]
        group.pools[1].active = 2
        assert group.pick(CLIENT) is None
        reason, seconds = group.unavailable()
        assert "http://127.0.0.1:2 has 2 requests under way (max_upstream_connections)" in reason
        assert seconds == 1
    async with made_group(1, max_upstream_connections=2) as group:
        group.pools[0].active = 2
        assert group.pick(CLIENT) is None


async def test_who_fails_its_checks_is_left_out_and_who_was_not_checked_yet_comes_last() -> None:
    async with made_group(1, 2, balance="first", health={}) as group:
        one, two = group.pools
        assert one.checked is not None
        assert two.checked is not None
        assert group.pick(CLIENT) is one
        two.checked.record(True)
        assert group.pick(CLIENT) is two
        one.checked.record(False)
        assert group.pick(CLIENT, (two,)) is None


def test_there_may_be_none() -> None:
    group = UpstreamGroup(())
    assert group.pick(CLIENT) is None
    assert not group.is_available()
    assert group.unavailable() == ("no upstream is available: none is set", 1)


async def test_picking_the_only_one_makes_nothing() -> None:
    async with made_group(1) as group:
        pick, client = group.pick, CLIENT
        gc.collect()
        gc.disable()
        try:
            before = gc.get_count()[0]
            for _ in repeat(None, 1000):
                pick(client)
            assert gc.get_count()[0] - before < 10
        finally:
            gc.enable()
