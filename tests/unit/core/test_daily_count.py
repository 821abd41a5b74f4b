"""No 24 hours bring more than was allowed, whatever the clock and the disk do."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.daily_count import DailyCount

NOW = datetime(2027, 1, 1, 0, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@given(st.lists(st.integers(0, 3 * 24 * 60), max_size=200), st.integers(1, 20))
def test_no_day_brings_more_than_allowed(minutes: list[int], allowed: int) -> None:
    count, added = DailyCount(), []
    for minute in sorted(minutes):
        at = NOW + timedelta(minutes=minute)
        if count.total(at) < allowed:
            count.add(at)
            added.append(at)
    assert all(sum(start <= at < start + DAY for at in added) <= allowed for start in added)


def test_a_restart_does_not_forget_and_a_wrong_clock_does_not_block() -> None:
    count, again = DailyCount(), DailyCount()
    for _ in range(3):
        count.add(NOW)
    again.read_document(count.to_document(NOW), NOW + timedelta(hours=23))
    assert again.total(NOW + timedelta(hours=23)) == 3
    assert again.total(NOW + timedelta(hours=26)) == 0
    ahead = DailyCount()
    ahead.add(NOW + 3650 * DAY)
    assert ahead.total(NOW) == 0


@given(st.dictionaries(st.text(max_size=12), st.none() | st.integers() | st.text(max_size=3) | st.booleans()))
def test_broken_documents_read_as_nothing(document: dict[str, object]) -> None:
    count = DailyCount()
    count.read_document(document, NOW)
    assert len(count.to_document(NOW)) <= 25


def test_when_there_is_room_again() -> None:
    count, start = DailyCount(), datetime(2027, 1, 1, 12, 30, tzinfo=UTC)
    for number in range(4):
        count.add(start + number * timedelta(hours=1))
    now = start + timedelta(hours=5)
    assert count.free_at(5, now) is None
    assert count.free_at(4, now) == datetime(2027, 1, 2, 13, tzinfo=UTC)
    free = count.free_at(2, now)
    assert free == datetime(2027, 1, 2, 15, tzinfo=UTC)
    assert count.copy().total(free) == 1
    assert count.copy().total(free - timedelta(seconds=1)) == 2
