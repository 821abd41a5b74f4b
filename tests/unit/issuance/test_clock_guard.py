"""Noticing a wrong clock, and asking what time it is at a bounded rate."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxyd.core.renewal import Validity
from proxyd.issuance.clock_guard import ClockGuard
from proxyd.issuance.memory import Memory
from proxyd.issuance.steady_clock import SteadyClock
from proxyd.store.journal import Journal
from tests.support.clock import FakeClock

RELEASED = datetime(2026, 11, 24, tzinfo=UTC)
YEARS = timedelta(days=3650)


class World:
    """A guard, a clock that is moved, and a CA that knows the time (or does not answer)."""

    def __init__(self, directory: Path) -> None:
        self.machine = FakeClock()
        self.clock = SteadyClock(self.machine, released=RELEASED)
        self.journal = Journal(directory / "journal.sqlite3", clock=self.clock)
        self.memory = Memory(self.journal, clock=self.clock)
        self.memory.open()
        self.asked = 0
        self.righted: list[datetime] = []
        self.wrong = timedelta(0)  # of the CA
        self.answers = self.has_ca = True
        self.guard = ClockGuard(
            self.clock, memory=self.memory, ask=self._ask, righted=lambda: self.righted.append(self.clock.now())
        )
        self._real = FakeClock()

    async def _ask(self) -> bool:
        self.asked += 1
        if self.answers:
            self.clock.dated("ca", self._real.now() + self.wrong)
        return self.has_ca

    async def look(self, after: timedelta) -> None:
        self.machine.advance(after)
        self._real.advance(after)
        await self.guard.look()

    def kinds(self) -> list[str]:
        self.memory.flush()
        return [event.kind for event in self.journal.history(None)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.memory.close()


async def test_a_jump_is_told_once_and_over_when_the_clock_is_back(world: World) -> None:
    before = world.clock.now()
    world.machine.jump(YEARS)
    for _ in range(3):
        await world.look(timedelta(seconds=2))
    assert world.clock.now() == before + timedelta(seconds=6)
    assert "jumped ahead" in str(world.guard.doubt)
    assert not world.guard.holds
    world.machine.jump(-YEARS)
    await world.look(timedelta(seconds=2))
    assert world.guard.doubt is None
    assert world.kinds() == ["clock doubted", "clock believed"]
    assert world.righted == [before + timedelta(seconds=8)]


async def test_nobody_is_asked_while_nothing_is_doubted(world: World) -> None:
    for _ in range(100):
        await world.look(timedelta(hours=1))
    assert world.asked == 0


async def test_a_ca_is_asked_at_once_then_seldom(world: World) -> None:
    world.answers = False
    world.machine.jump(YEARS)
    await world.look(timedelta(seconds=2))
    assert world.asked == 1
    for _ in range(24 * 60):
        await world.look(timedelta(minutes=1))
    assert 24 <= world.asked <= 30


async def test_what_a_ca_confirms_counts_from_now_on(world: World) -> None:
    world.machine.jump(YEARS)
    world.wrong = YEARS
    await world.look(timedelta(seconds=2))
    assert world.clock.now() == world.machine.now()
    assert world.righted == [world.machine.now()]
    assert world.guard.doubt is None


async def test_a_certificate_of_the_future_holds_until_a_ca_has_spoken(world: World) -> None:
    begin = world.clock.now() + timedelta(days=30)
    world.clock.found([Validity(not_before=begin, not_after=begin + timedelta(days=90))])
    assert world.guard.holds
    world.answers = False
    await world.look(timedelta(seconds=2))
    assert world.guard.holds
    world.answers = True
    await world.look(timedelta(minutes=1))
    assert not world.guard.holds


async def test_a_ca_without_a_date_will_do(world: World) -> None:
    begin = world.clock.now() + timedelta(days=30)
    world.clock.found([Validity(not_before=begin, not_after=begin + timedelta(days=90))])
    world.clock.dated("ca", None)
    assert not world.guard.holds


async def test_nothing_is_ordered_between_the_right_clock_and_the_look_that_notices_it(world: World) -> None:
    world.answers = False
    world.clock.found([Validity(not_before=world.clock.now(), not_after=world.clock.now() + timedelta(days=90))])
    world.machine.jump(-YEARS)
    world.clock = world.guard._clock = SteadyClock(world.machine, released=RELEASED)  # started by the wrong one
    await world.look(timedelta(seconds=2))
    assert world.guard.holds
    world.machine.jump(YEARS)
    world.clock.dated("ca", world.machine.now())
    assert (world.guard.doubt, world.guard.holds, world.righted) == (None, True, [])
    await world.look(timedelta(seconds=2))
    assert (world.guard.holds, len(world.righted)) == (False, 1)


async def test_without_a_ca_a_clock_that_got_the_time_is_believed(world: World) -> None:
    world.answers = world.has_ca = False
    world.machine.jump(timedelta(days=30))
    await world.look(timedelta(seconds=2))
    assert world.clock.now() == world.machine.now()
    assert world.guard.doubt is None
    assert world.righted


async def test_without_a_ca_a_clock_that_went_back_is_believed_after_a_while(world: World) -> None:
    world.answers = world.has_ca = False
    world.clock.found([Validity(not_before=world.machine.now(), not_after=world.machine.now() + YEARS)])
    world.machine.jump(-timedelta(days=2))
    await world.look(timedelta(seconds=2))
    assert world.clock.now() > world.machine.now()
    for _ in range(10):
        await world.look(timedelta(minutes=5))
    assert world.clock.now() == world.machine.now()
    assert not world.guard.holds
