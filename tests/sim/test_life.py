"""Two simulated years: nothing expires, no limit of the CA is touched, renewals are spread.

`SEEDS=200` before pytest lives more of the small lives, `LARGE=10000` a larger one.
"""

import gc
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta

import pytest

from tests.sim.life import ROOM, Simulation
from tests.sim.timeline import START

FIRST, SEEDS, LARGE = (
    int(os.environ.get(name, usual)) for name, usual in (("FIRST", 0), ("SEEDS", 20), ("LARGE", 2000))
)
SMALL = 200


def violations(life: tuple[int, int]) -> list[str]:
    """Return what went wrong in the two years of a seed with so many hosts."""
    seed, hosts = life
    gc.disable()  # there are hardly any cycles, and much to walk through in search of them
    return Simulation(seed, hosts).run()


@pytest.mark.timeout(0 if (SEEDS, LARGE) != (20, 2000) else 900)
def test_two_years_of_many_fleets() -> None:
    small = [(seed, SMALL) for seed in range(FIRST, FIRST + SEEDS)]
    large = [(1000 + FIRST, LARGE)] if LARGE else []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        lives = pool.map(violations, [*large, *small])
        found = [violation for life in lives for violation in life]
    assert not found, "\n".join(found)


class Stalled(Simulation):
    """Orders nothing any more after twenty days."""

    def _begin(self, now: datetime) -> None:
        if now > START + timedelta(days=20):
            self._running = ROOM
        super()._begin(now)


def test_the_judge_notices_certificates_that_nobody_renews() -> None:
    found = Stalled(1, 5, calm=True).run()
    assert any("expired" in violation for violation in found)


def test_the_judge_notices_orders_beyond_the_limits() -> None:
    found = Simulation(1, 400, limits=None, calm=True).run()
    assert any("had to refuse" in violation for violation in found)
