"""Certificates are worked at in small pieces while requests come, and at once while none do."""

import asyncio
from itertools import pairwise

from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.pace import Pace


async def _began(pace: Pace, pieces: int) -> list[float]:
    """Return when each of some pieces that all want to begin now did."""
    began = list[float]()

    async def piece() -> None:
        await pace.turn()
        began.append(asyncio.get_running_loop().time())

    await asyncio.gather(*(piece() for _ in range(pieces)))
    return began


async def test_while_requests_come_the_pieces_follow_each_other_with_room_between_them() -> None:
    pace = Pace(is_serving=lambda: True, clock=SystemClock(), spacing=0.05)
    began = await _began(pace, 4)
    assert began == sorted(began)
    assert all(later - earlier > 0.03 for earlier, later in pairwise(began))


async def test_while_none_come_nothing_waits() -> None:
    pace = Pace(is_serving=lambda: False, clock=SystemClock(), spacing=60.0)
    async with asyncio.timeout(10):
        await _began(pace, 100)


async def test_a_piece_after_a_rest_begins_at_once() -> None:
    pace = Pace(is_serving=lambda: True, clock=SystemClock(), spacing=60.0)
    async with asyncio.timeout(10):
        await pace.turn()
