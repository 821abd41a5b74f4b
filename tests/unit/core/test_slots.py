"""A renewal is never placed later than wished, nor too early."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.slots import Slot, Slots
from tests.support.strategies import NOW

DAY = timedelta(days=1)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(1, 90)), max_size=60))
def test_a_place_is_between_the_earliest_and_the_wished(fleet: list[tuple[int, int, int]]) -> None:
    slots = Slots()
    for hours, room, cycle in fleet:
        wished, earliest = NOW + 40 * DAY + timedelta(hours=hours), NOW + (40 - room) * DAY
        at = slots.place(wished, earliest=earliest, cycle=cycle * DAY)
        assert earliest - timedelta(seconds=1) <= at <= wished
        slots.add(Slot(at, cycle * DAY))
