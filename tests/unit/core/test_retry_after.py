"""Retry-After as CAs, and those who hate us, write it."""

from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.retry_after import parse_retry_after
from tests.support.strategies import NOW, moments

PIECES = st.sampled_from(
    ["Mon,", "01", "Jan", "2027", "00:00:00", "GMT", "-0000", "+9999", "9" * 25, "-1", ":", " ", "0001", "99:99:99"]
)


@given(st.text(max_size=60) | st.lists(PIECES, max_size=9).map(" ".join))
def test_nothing_raises_and_no_wait_is_negative(text: str) -> None:
    wait = parse_retry_after(text, NOW)
    assert wait is None or wait >= timedelta(0)


@pytest.mark.parametrize(
    "date",
    [
        f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT",
        f"Mon, 01 Jan 2027 {'9' * 20}:00:00 GMT",
        f"Mon, 01 Jan 2027 00:00:00 +{'9' * 20}",
    ],
)
def test_a_date_with_endless_numbers_makes_no_sense(date: str) -> None:
    assert parse_retry_after(date, NOW) is None


@given(moments)
def test_a_date_is_understood(at: datetime) -> None:
    assert parse_retry_after(format_datetime(at, usegmt=True), NOW) == max(at - NOW, timedelta(0))


@given(st.integers(0, 10**8))
def test_seconds_are_understood(seconds: int) -> None:
    assert parse_retry_after(f" {seconds} ", NOW) == timedelta(seconds=seconds)
