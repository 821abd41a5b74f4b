"""The table of rate limits against a bucket that is filled by hand, and under floods of sources."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.rate_limit import SIZE, Rate, RateTable


def make_table() -> RateTable:
    return RateTable(memoryview(bytearray(SIZE)), secret=b"secret")


_TABLE = make_table()
_SERIAL = iter(range(10**9))


@given(
    count=st.integers(1, 50),
    seconds=st.sampled_from([1.0, 10.0, 60.0, 3600.0]),
    burst=st.none() | st.integers(1, 100),
    pauses=st.lists(st.floats(0.0, 30.0), max_size=200),
)
def test_it_admits_what_a_bucket_would(count: int, seconds: float, burst: int | None, pauses: list[float]) -> None:
    rate, place = Rate.of(count, seconds, burst), _TABLE.place("host", f"client {next(_SERIAL)}")
    most = float(burst or count)
    tokens, now = most, 1e6
    for pause in pauses:
        now += pause
        tokens = min(most, tokens + pause * count / seconds)
        wait = _TABLE.take(place, rate, now)
        if wait:
            assert tokens < 1
            assert wait == pytest.approx((1 - tokens) * seconds / count, rel=0.02, abs=1e-3)
        else:
            assert tokens > 0.98
            tokens = max(0.0, tokens - 1)


@given(count=st.integers(1, 1000), burst=st.integers(1, 5000))
def test_a_burst_is_admitted_whole_and_nothing_beyond_it(count: int, burst: int) -> None:
    rate, place = Rate.of(count, 1.0, burst), _TABLE.place("host", f"client {next(_SERIAL)}")
    assert not any(_TABLE.take(place, rate, 5e5) for _ in range(burst))
    wait = _TABLE.take(place, rate, 5e5)
    assert 0.98 / count <= wait <= 1.02 / count
    assert _TABLE.take(place, rate, 5e5) == wait, "to be refused costs nothing"
    assert not _TABLE.take(place, rate, 5e5 + wait)


def test_hosts_and_clients_count_apart_and_an_ipv6_client_is_a_64() -> None:
    table, rate = make_table(), Rate.of(1, 60.0)
    assert not table.take(table.place("a", "2001:db8:0:1::1"), rate, 100.0)
    assert table.take(table.place("a", "2001:db8:0:1:ffff::9"), rate, 100.0)
    assert not table.take(table.place("a", "2001:db8:0:2::1"), rate, 100.0)
    assert not table.take(table.place("b", "2001:db8:0:1::1"), rate, 100.0)
    assert not table.take(table.place("a", "192.0.2.1"), rate, 100.0)
    assert table.take(table.place("a", "::ffff:192.0.2.1"), rate, 100.0)
    assert not table.take(table.place("a", "192.0.2.2"), rate, 100.0)


def test_processes_count_together() -> None:
    memory = memoryview(bytearray(SIZE))
    tables = [RateTable(memory, secret=b"x") for _ in range(3)]
    admitted = sum(not one.take(one.place("h", "c"), Rate.of(10, 1.0), 7.0) for one in tables * 10)
    assert admitted == 10


def test_another_limit_after_a_reload_goes_on_from_what_was_used() -> None:
    table = make_table()
    place = table.place("h", "c")
    for _ in range(10):
        table.take(place, Rate.of(10, 600.0), 50.0)
    assert table.take(place, Rate.of(10, 600.0), 50.0)
    wait = table.take(place, Rate.of(100, 1.0), 50.0)
    assert 0 < wait <= 0.01 * 1.01, "no longer than the new limit says"


def test_what_is_owed_is_paid_back() -> None:
    table, rate = make_table(), Rate.of(10, 60.0)
    place = table.place("failures", "c")
    for _ in range(30):  # more than there were, because they were under way
        table.charge(place, rate, 1000.0)
    assert table.wait(place, rate, 1000.0) == pytest.approx(126.0)
    assert not table.wait(place, rate, 1127.0)
    for _ in range(10_000):
        table.charge(place, rate, 1127.0)
    assert table.wait(place, rate, 1127.0) < 16 * 60 + 12


def test_a_million_sources_cost_no_more_memory_and_free_nobody_who_is_limited() -> None:
    table, rate = make_table(), Rate.of(20, 60.0)
    limited = [table.place("h", f"192.0.2.{number}") for number in range(200)]
    for place in limited:
        while not table.take(place, rate, 1000.0):
            pass
    for number in range(980_000):
        table.take(table.place("h", f"source {number}"), rate, 1000.0 + number / 1e6)
    tracemalloc.start()  # it makes everything slow
    try:
        for number in range(980_000, 1_000_000):
            table.take(table.place("h", f"source {number}"), rate, 1000.0 + number / 1e6)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20, "what is remembered of each beside the table is forgotten"
    assert all(table.wait(place, rate, 1001.0) for place in limited)
    newcomer = table.place("h", "newcomer")
    assert sum(not table.take(newcomer, rate, 1001.0) for _ in range(30)) == 20
