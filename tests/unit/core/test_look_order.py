"""Newest failures first, and nobody for ever last."""

from datetime import UTC, datetime, timedelta

from proxyd.core.look_order import look_order

T0 = datetime(2027, 1, 1, tzinfo=UTC)


def test_newest_failure_and_longest_wait_take_turns() -> None:
    def at(seconds: int) -> datetime:
        return T0 + timedelta(seconds=seconds)

    due = [("old", at(0), at(50)), ("older", at(-10), at(40)), ("new", at(60), at(61)), ("newer", at(70), None)]
    assert look_order(due) == ["newer", "new", "older", "old"]
    assert look_order([]) == []


def test_ten_thousand_names_all_get_their_look() -> None:
    """Twenty hosts that fail again and again take half of the looks at most."""
    looked: dict[int, datetime | None] = dict.fromkeys(range(1000))
    failed = {one: T0 + timedelta(seconds=one) for one in looked}
    for round_ in range(300):
        now = T0 + timedelta(hours=1, seconds=round_ * 2)
        for busy in range(20):
            failed[busy] = now
        for one in look_order((one, failed[one], looked[one]) for one in looked)[:10]:
            looked[one] = now
    assert None not in looked.values()
