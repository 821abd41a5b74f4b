"""Our own ceiling, whatever is wished for."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.circuit_breaker import closed_until
from tests.support.strategies import NOW

DAY, WEEK = timedelta(days=1), timedelta(days=7)
#: Each wish: minutes after the one before, and whether it is exempt from the CA's limits.
WISHES = st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=60)


def issued(wishes: list[tuple[int, bool]], lifetime: timedelta | None = None) -> list[tuple[datetime, bool]]:
    """Return what comes of wishes that are granted whenever the ceiling allows."""
    history: list[tuple[datetime, bool]] = []
    now = NOW
    for minutes, exempt in wishes:
        now += timedelta(minutes=minutes)
        times = [at for at, _ in history]
        until = closed_until(times, exempt=exempt, now=now, lifetime=lifetime)
        if until is None:
            history.append((now, exempt))
        else:
            assert now < until <= now + WEEK
            assert closed_until(times, exempt=exempt, now=until, lifetime=lifetime) is None  # it is no empty promise
    return history


def most(history: list[tuple[datetime, bool]], period: timedelta, *, ending_exempt: bool | None = None) -> int:
    """Return the most certificates in a window that ends with one (of this kind)."""
    return max(
        (
            sum(end - period < at for at, _ in history[: number + 1])
            for number, (end, exempt) in enumerate(history)
            if ending_exempt in (None, exempt)
        ),
        default=0,
    )


@given(WISHES)
def test_no_wishes_pass_the_ceiling(wishes: list[tuple[int, bool]]) -> None:
    history = issued(wishes)
    assert most(history, WEEK) <= 6
    assert most(history, DAY, ending_exempt=False) <= 2
    assert most(history, WEEK, ending_exempt=False) <= 4


@given(st.lists(st.integers(0, 600), max_size=150), st.floats(0.02, 5.9))
def test_short_lives_are_renewed_by_the_rule_and_little_more(waits: list[int], days: float) -> None:
    lifetime = timedelta(days=days)
    history = issued([(minutes, False) for minutes in waits], lifetime)
    for period in (DAY, WEEK):
        assert most(history, period) <= 2 * (period / (lifetime / 2)) + 2


@given(st.floats(0.02, 400), st.integers(1, 30))
def test_renewals_by_the_rule_are_never_in_its_way(days: float, count: int) -> None:
    lifetime = timedelta(days=days)
    share = lifetime / 2 if days < 10 else lifetime * 2 / 3
    history = [NOW + one * share for one in range(count)]
    assert closed_until(history, exempt=False, now=NOW + count * share, lifetime=lifetime) is None


@given(WISHES, st.timedeltas(timedelta(days=1), timedelta(days=4000)))
def test_certificates_dated_ahead_by_a_wrong_clock_close_nothing(
    wishes: list[tuple[int, bool]], ahead: timedelta
) -> None:
    history = [at + ahead for at, _ in issued(wishes)]
    assert closed_until(history, exempt=False, now=NOW) is None
