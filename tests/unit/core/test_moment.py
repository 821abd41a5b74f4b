"""Times as text, of files that anything may have damaged."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from proxyd.core.moment import read_moment
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
