"""The heap against a sorted list."""

import pickle
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.agenda import Agenda
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from tests.support.strategies import NOW

LINEAGES = [
    Lineage(host=host, names=(host,), key_kind="p256")
    for host in (Hostname(f"h{number}.example") for number in range(6))
]
PUT = st.tuples(st.sampled_from(LINEAGES), st.none() | st.integers(0, 50))
TAKE = st.integers(0, 60)


@given(st.lists(PUT | TAKE, max_size=60))
def test_each_is_taken_once_when_it_is_due_longest_first(story: list[tuple[Lineage, int | None] | int]) -> None:
    agenda = Agenda()
    listed: dict[Lineage, datetime] = {}  # in the order of putting
    for one in story:
        if isinstance(one, int):
            now = NOW + timedelta(minutes=one)
            due = sorted((lineage for lineage in listed if listed[lineage] <= now), key=listed.__getitem__)
            assert agenda.take(now) == (due[0] if due else None)
            for lineage in due[:1]:
                del listed[lineage]
        else:
            lineage, minutes = one
            listed.pop(lineage, None)
            if minutes is not None:
                listed[lineage] = NOW + timedelta(minutes=minutes)
            agenda.put(lineage, listed.get(lineage))
        assert agenda.next_at() == min(listed.values(), default=None)


def test_what_was_replaced_takes_no_room() -> None:
    agenda = Agenda()
    for minutes in range(10_000):
        agenda.put(LINEAGES[minutes % 6], NOW + timedelta(days=60, minutes=minutes))
    assert len(pickle.dumps(agenda)) < 20_000
    for lineage in LINEAGES:
        agenda.put(lineage, None)
    assert agenda.next_at() is None
