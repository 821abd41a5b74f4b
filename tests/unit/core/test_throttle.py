"""A network gets its share, and memory is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.throttle import NEWCOMERS, NEWCOMERS_SECONDS, Throttle


@given(st.lists(st.floats(0, 4 * NEWCOMERS_SECONDS), max_size=400))
def test_a_network_gets_its_share_and_no_more(steps: list[float]) -> None:
    throttle = Throttle()
    taken = [now for now in sorted(steps) if throttle.take("192.0.2.0/24", now)]
    for start in taken:
        inside = sum(start <= at < start + NEWCOMERS_SECONDS for at in taken)
        assert inside <= 2 * NEWCOMERS  # a full bucket, and what comes back meanwhile
    assert sum(at < 1 for at in taken) <= NEWCOMERS


def test_other_networks_are_not_throttled_and_memory_is_bounded() -> None:
    throttle = Throttle(size=100)
    assert sum(throttle.take("192.0.2.0/24", 0) for _ in range(5000)) == NEWCOMERS
    assert all(throttle.take(f"10.{n // 256}.{n % 256}.0/24", 0) for n in range(1000))
    assert len(throttle) == 100
