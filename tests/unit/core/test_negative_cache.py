"""Refused until its time, and never over its size."""

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.hostname import Hostname
from proxyd.core.negative_cache import NegativeCache

A = Hostname("a.example.com")


def test_a_refused_name_is_refused_until_its_time() -> None:
    cache = NegativeCache()
    cache.put(A, 10)
    assert cache.holds(A, 9.9)
    assert not cache.holds(A, 10)
    assert len(cache) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 100)), max_size=200))
def test_the_cache_never_grows_over_its_size(puts: list[tuple[int, float]]) -> None:
    cache = NegativeCache(size=8)
    for number, until in puts:
        cache.put(Hostname(f"n{number}.example.com"), until)
        assert len(cache) <= 8
    if puts:
        assert cache.holds(Hostname(f"n{puts[-1][0]}.example.com"), -1)
