"""A renewal is never placed later than wished, nor too early."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.slots import NoSlots, Slot, Slots
from tests.support.strategies import NOW

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(1, 90)), max_size=60))
def test_a_place_is_between_the_earliest_and_the_wished(fleet: list[tuple[int, int, int]]) -> None:
    slots = Slots()
    for hours, room, cycle in fleet:
        wished, earliest = NOW + 40 * DAY + timedelta(hours=hours), NOW + (40 - room) * DAY
        at = slots.place(wished, earliest=earliest, cycle=cycle * DAY)
        assert earliest - timedelta(seconds=1) <= at <= wished
        slots.add(Slot(at, cycle * DAY))


@given(st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_where_all_is_crowded_it_is_the_emptiest_hour_and_of_these_the_latest(counts: list[int]) -> None:
    slots, wished = Slots(), NOW + 40 * DAY
    for back, count in enumerate(counts):
        for _ in range(count + 10):  # of cycles so long that any is a crowd
            slots.add(Slot(wished - back * HOUR, 10_000 * DAY))
    at = slots.place(wished, earliest=wished - (len(counts) - 1) * HOUR, cycle=10_000 * DAY)
    assert at == wished - counts.index(min(counts)) * HOUR


def test_who_asks_only_what_is_due_places_nothing() -> None:
    slots = NoSlots()
    for _ in range(100):
        slots.add(Slot(NOW, DAY))
    assert slots.place(NOW, earliest=NOW - DAY, cycle=DAY) == NOW
