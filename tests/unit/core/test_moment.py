"""Times as text, of files that anything may have damaged."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from proxyd.core.moment import distance, read_moment
from tests.support.strategies import json_values, moments


@given(moments)
def test_what_is_written_is_read(at: datetime) -> None:
    assert read_moment(at.isoformat()) == at


@given(json_values)
def test_anything_else_is_nothing_or_can_be_reckoned_with(value: object) -> None:
    at = read_moment(value)
    if at is not None:
        assert at.astimezone(UTC) == at
        assert at - timedelta(days=36_500) < at < at + timedelta(days=36_500)


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2027-01-01T00:00:00", "2027-13-01", "", "\ud800"],
)
def test_no_time_zone_and_no_other_century(text: str) -> None:
    assert read_moment(text) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "in 0 s"),
        (90, "in 90 s"),
        (-5400, "90 min ago"),
        (3 * 3600, "in 3 h"),
        (-47 * 3600, "47 h ago"),
        (86400 * 29, "in 29 d"),
    ],
)
def test_how_far_away_it_is(seconds: int, said: str) -> None:
    assert distance(timedelta(seconds=seconds)) == said
