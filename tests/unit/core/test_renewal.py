"""When a certificate is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.hostname import Hostname
from proxyd.core.renewal import (
    RenewalWindow,
    Validity,
    ask_again_at,
    ends_too_early,
    is_ending,
    parse_window,
    renew_at,
    spread,
)
from tests.support.strategies import damaged, json_values, moments

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def life(days: float) -> Validity:
    return Validity(not_before=START, not_after=START + days * DAY)


@pytest.mark.parametrize(("days", "left"), [(90, 30), (45, 15), (160 / 24, 80 / 24)])
def test_without_a_window_a_share_of_the_life_is_left(days: float, left: float) -> None:
    assert life(days).not_after - renew_at(life(days), None, 0) == left * DAY
    assert renew_at(life(days), None, 0.99) < renew_at(life(days), None, 0)


@given(st.floats(1, 400), st.floats(-500, 500), st.floats(0.001, 60), st.floats(0, 0.999))
def test_the_point_is_in_the_window_but_never_in_the_last_twentieth(
    days: float, begins: float, width: float, point: float
) -> None:
    window = RenewalWindow(cert_id="a.b", start=START + begins * DAY, end=START + (begins + width) * DAY)
    at = renew_at(life(days), window, point)
    last = life(days).not_after - days * DAY / 20
    assert at <= last + timedelta(seconds=1)
    assert window.start <= at <= window.end or at < window.start


def test_the_point_of_a_host_is_its_own_and_stays() -> None:
    points = [spread(Hostname(f"h{number}.example")) for number in range(1000)]
    assert points == [spread(Hostname(f"h{number}.example")) for number in range(1000)]
    assert all(0 <= point < 1 for point in points)
    assert 400 < sum(point < 0.5 for point in points) < 600


@pytest.mark.parametrize(
    "suggested",
    [
        None,
        {},
        {"start": "2026-01-02T00:00:00Z"},
        {"start": "2026-01-02T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
        {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        {"start": "2026-01-02T00:00:00", "end": "2026-01-03T00:00:00"},
        {"start": "now", "end": "later"},
        {"start": 1, "end": 2},
        {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"},
    ],
)
def test_a_window_that_makes_no_sense_is_none(suggested: object) -> None:
    assert parse_window({"suggestedWindow": suggested}, "a.b") is None


def test_a_window_is_read_with_its_explanation() -> None:
    suggested = {"start": "2026-01-02T00:00:00Z", "end": "2026-01-04T00:00:00+00:00"}
    window = parse_window({"suggestedWindow": suggested, "explanationURL": "https://ca.example/why"}, "a.b")
    assert window == RenewalWindow(
        cert_id="a.b", start=START + DAY, end=START + 3 * DAY, explanation_url="https://ca.example/why"
    )
    hostile = parse_window({"suggestedWindow": suggested, "explanationURL": "javascript:alert(1)"}, "a.b")
    assert hostile is not None
    assert hostile.explanation_url is None


@pytest.mark.parametrize(("asked", "waits"), [(0, 60), (3600, 3600), (10**7, 12 * 3600), (None, 6 * 3600)])
def test_the_window_is_asked_for_at_least_twice_a_day(asked: int | None, waits: int) -> None:
    retry_after = None if asked is None else timedelta(seconds=asked)
    assert ask_again_at(START, retry_after) - START == timedelta(seconds=waits)


LIVES = st.builds(life, st.floats(0.01, 4000))
POINTS = st.floats(0, 1, exclude_max=True)


@given(LIVES, POINTS)
def test_without_a_window_a_renewal_is_in_the_second_half_of_the_life(validity: Validity, point: float) -> None:
    at = renew_at(validity, None, point)
    assert validity.not_before + validity.lifetime * 0.44 <= at < validity.not_after
    assert not is_ending(validity, at)


@given(LIVES, LIVES, st.timedeltas(timedelta(days=-500), timedelta(days=500)), moments)
def test_only_the_same_lifetime_with_an_earlier_end_ends_too_early(
    serving: Validity, new: Validity, later: timedelta, now: datetime
) -> None:
    moved = Validity(not_before=new.not_before + later, not_after=new.not_after + later)
    assert not ends_too_early(moved, None, now)
    if ends_too_early(moved, serving, now):
        assert now < serving.not_after
        assert moved.not_after < serving.not_after
        assert moved.not_before < serving.not_before + serving.lifetime / 9  # made before it, or nearly so
    if moved.not_after >= serving.not_after:
        assert not ends_too_early(moved, serving, now)


@given(st.none() | st.timedeltas(), moments)
def test_windows_are_asked_for_once_a_minute_at_most_and_twice_a_day_at_least(
    retry_after: timedelta | None, now: datetime
) -> None:
    wait = ask_again_at(now, retry_after) - now
    assert timedelta(minutes=1) <= wait <= timedelta(hours=12)
    if retry_after is not None and timedelta(minutes=1) <= retry_after <= timedelta(hours=12):
        assert wait == retry_after


ANSWER = {
    "suggestedWindow": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-03T00:00:00Z"},
    "explanationURL": "https://ca.example/why",
}


@given(json_values | damaged(ANSWER))
def test_any_answer_of_a_ca_is_a_window_or_none(answer: object) -> None:
    window = parse_window(answer, "a.b")
    if window is not None:
        assert window.start < window.end
        assert renew_at(life(90), window, 0.5) <= life(90).not_after
        assert window.explanation_url is None or window.explanation_url.startswith("https://")
