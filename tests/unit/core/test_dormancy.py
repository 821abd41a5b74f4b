"""Which hosts have left us."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.dormancy import has_left

NOW = datetime(2027, 1, 8, tzinfo=UTC)
WEEK, MOMENT = timedelta(days=7), timedelta(seconds=1)
#: A host that has left: each of these has been so for exactly seven days.
LEFT = dict.fromkeys(("pointed_elsewhere_since", "last_request", "last_success", "failing_since"), NOW - WEEK)
_moments = st.none() | st.timedeltas(timedelta(days=-30), timedelta(days=30)).map(lambda ago: NOW - ago)


def left(**changed: datetime | None) -> bool:
    facts: dict[str, Any] = {**LEFT, **changed}
    return has_left(**facts, now=NOW)


def test_all_must_have_been_gone_for_seven_days() -> None:
    assert left()


@pytest.mark.parametrize("fact", LEFT)
def test_one_that_is_younger_keeps_the_host(fact: str) -> None:
    assert not left(**{fact: NOW - WEEK + MOMENT})


@pytest.mark.parametrize("fact", ["last_request", "last_success"])
def test_a_host_that_never_worked_may_leave(fact: str) -> None:
    assert left(**{fact: None})


def test_a_host_whose_dns_stays_as_it_worked_never_leaves() -> None:
    """Behind a CDN or NAT the DNS never points here: it changed nothing, so `pointed_elsewhere_since` is None."""
    assert not left(pointed_elsewhere_since=None)


def test_a_host_whose_renewals_work_never_leaves() -> None:
    assert not left(failing_since=None)


@given(_moments, _moments, _moments, _moments, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_once_left_it_stays_so_until_something_happens(
    elsewhere: datetime | None,
    request: datetime | None,
    success: datetime | None,
    failing: datetime | None,
    later: timedelta,
) -> None:
    def at(now: datetime) -> bool:
        return has_left(
            pointed_elsewhere_since=elsewhere,
            last_request=request,
            last_success=success,
            failing_since=failing,
            now=now,
        )

    assert at(NOW + later) or not at(NOW)
    if at(NOW):
        assert elsewhere is not None
        assert failing is not None
        assert all(one is None or one <= NOW - WEEK for one in (elsewhere, request, success, failing))
