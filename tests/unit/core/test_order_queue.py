from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.order_queue import OrderQueue

NOW = datetime(2027, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def lineage(number: int) -> Lineage:
    host = Hostname(f"host{number}.example.com")
    return Lineage(host=host, names=(host,), key_kind="p256")


def test_who_is_urgent_comes_first_but_not_before_it_is_due() -> None:
    queue = OrderQueue()
    queue.put(lineage(0), NOW - MINUTE, "a", urgent=False)
    queue.put(lineage(1), NOW, "a", urgent=True)
    queue.put(lineage(2), NOW + MINUTE, "b", urgent=True)
    assert [queue.take(NOW) for _ in range(3)] == [lineage(1), lineage(0), None]
    assert queue.next_at() == NOW + MINUTE


def test_one_ca_that_is_full_keeps_nobody_of_another_waiting() -> None:
    queue = OrderQueue()
    queue.put(lineage(0), NOW, "a", urgent=True)
    queue.put(lineage(1), NOW + MINUTE, "b", urgent=False)
    assert queue.next_at({"a"}) == NOW + MINUTE
    assert queue.take(NOW + MINUTE, {"a"}) == lineage(1)
    assert queue.take(NOW + MINUTE, {"a"}) is None
    assert queue.take(NOW + MINUTE) == lineage(0)


_puts = st.lists(
    st.tuples(st.integers(0, 5), st.none() | st.integers(0, 9), st.sampled_from("ab"), st.booleans()), max_size=30
)


@given(puts=_puts, full=st.sets(st.sampled_from("ab")), now=st.integers(0, 9))
def test_only_the_last_put_of_a_lineage_counts(
    puts: list[tuple[int, int | None, str, bool]], full: set[str], now: int
) -> None:
    queue = OrderQueue()
    last: dict[int, tuple[int, str, bool]] = {}
    for number, at, issuer, urgent in puts:
        queue.put(lineage(number), None if at is None else NOW + at * MINUTE, issuer, urgent=urgent)
        last.pop(number, None)
        if at is not None:
            last[number] = (at, issuer, urgent)
    due = [(not urgent, at) for at, issuer, urgent in last.values() if at <= now and issuer not in full]
    numbers = {lineage(number): number for number in last}
    taken = []
    while one := queue.take(NOW + now * MINUTE, full):
        at, _, urgent = last[numbers[one]]
        taken.append((not urgent, at))
    assert taken == sorted(due)
