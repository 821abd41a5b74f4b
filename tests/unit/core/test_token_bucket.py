"""The bucket against one that counts tokens."""

from datetime import timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.token_bucket import Limit, TokenBucket
from tests.support.strategies import NOW

LIMITS = st.builds(
    lambda count, refill: Limit(count, timedelta(seconds=count * refill)), st.integers(1, 9), st.integers(1, 90)
)


class Counted:
    """The same limit, the naive way."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._tokens = Fraction(limit.count)
        self._at = 0

    def at(self, second: int) -> Fraction:
        refilled = Fraction(second - self._at) / round(self._limit.refill.total_seconds())
        self._tokens, self._at = min(Fraction(self._limit.count), self._tokens + refilled), second
        return self._tokens

    def change(self, second: int, by: int) -> None:
        self._tokens = min(Fraction(self._limit.count), self.at(second) + by)


@given(LIMITS, st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=60))
def test_there_is_room_when_a_token_is_left(limit: Limit, story: list[tuple[int, bool]]) -> None:
    bucket, counted, second, taken = TokenBucket(NOW), Counted(limit), 0, 0
    for wait, gives_back in story:
        second += wait
        now = NOW + timedelta(seconds=second)
        if gives_back and taken:
            bucket, taken = bucket.give_back(limit), taken - 1
            counted.change(second, 1)
        has_room = bucket.has_room_at(limit) <= now
        assert has_room is (counted.at(second) >= 1)
        if has_room:
            bucket, taken = bucket.take(limit, now), taken + 1
            counted.change(second, -1)


@given(LIMITS, st.lists(st.integers(0, 100), max_size=80))
def test_no_window_sees_more_than_a_full_bucket_and_its_refill(limit: Limit, waits: list[int]) -> None:
    bucket, second, sent = TokenBucket(NOW), 0, list[int]()
    for wait in waits:
        second += wait
        now = NOW + timedelta(seconds=second)
        if bucket.has_room_at(limit) <= now:
            bucket = bucket.take(limit, now)
            sent.append(second)
    refill = limit.refill.total_seconds()
    for first, start in enumerate(sent):
        for last, end in enumerate(sent[first:], first):
            assert last - first + 1 <= limit.count + (end - start) / refill


@given(LIMITS, st.integers(0, 10**6), st.integers(1, 100))
def test_a_wrong_clock_starves_nobody(limit: Limit, ahead: int, times: int) -> None:
    bucket = TokenBucket(NOW + timedelta(seconds=ahead))
    for _ in range(times):
        bucket = bucket.take(limit, NOW)
    assert bucket.full_at <= NOW + limit.period
