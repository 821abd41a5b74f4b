"""How long to wait after a failure."""

import random
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.backoff import LONGEST_WAIT, retry_at
from proxyd.core.failure import Failure, FailureKind
from tests.support.strategies import NOW, failures

WEEK = timedelta(days=7)
LIVES = st.none() | st.timedeltas(timedelta(minutes=10), timedelta(days=400))


@given(failures, st.integers(-1, 10_000), st.integers(0, 99), LIVES)
def test_the_wait_is_what_the_ca_asked_for_and_ends(
    failure: Failure, count: int, seed: int, lifetime: timedelta | None
) -> None:
    at = retry_at(failure, count, NOW, random.Random(seed), lifetime=lifetime)
    assert NOW < at < NOW + LONGEST_WAIT
    assert at >= NOW + min(failure.retry_after or timedelta(0), WEEK)
    if failure.retry_at is not None:
        assert at >= min(failure.retry_at, NOW + WEEK)


@given(st.sampled_from(FailureKind), st.integers(1, 50), st.integers(0, 99), LIVES)
def test_another_failure_never_shortens_the_wait(
    kind: FailureKind, count: int, seed: int, lifetime: timedelta | None
) -> None:
    failure = Failure(kind=kind, message="no")
    waits = [retry_at(failure, count + one, NOW, random.Random(seed), lifetime=lifetime) for one in (0, 1)]
    assert waits[0] <= waits[1]


@given(st.sampled_from(FailureKind), st.integers(1, 50), st.integers(0, 99), st.floats(0.01, 5))
def test_a_short_life_leaves_time_for_several_tries(kind: FailureKind, count: int, seed: int, days: float) -> None:
    life = timedelta(days=days)
    at = retry_at(Failure(kind=kind, message="no"), count, NOW, random.Random(seed), lifetime=life)
    assert at - NOW <= max(life / 4, timedelta(seconds=11))
