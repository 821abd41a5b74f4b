"""Where things are on the bar of a certificate's life."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxyd.admin.life_bar import life_bar
from proxyd.admin.page_frame import away
from proxyd.core.hostname import Hostname
from proxyd.core.status import HostStatus

BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def bar(now: datetime, **more: Any) -> str:
    known = {"not_before": BEGIN, "not_after": BEGIN + 100 * DAY, "renew_at": BEGIN + 70 * DAY} | more
    return life_bar(HostStatus(host=Hostname("a"), state="ready", issuer=None, **known), now, away)


@pytest.mark.parametrize(
    ("days", "width", "tone"),
    [(-1, 0, "good"), (0, 0, "good"), (50, 500, "good"), (71, 710, "warn"), (90, 900, "bad"), (200, 1000, "bad")],
)
def test_what_is_over(days: int, width: int, tone: str) -> None:
    shown = bar(BEGIN + days * DAY)
    assert re.findall(r'class="gone (\w+)" x="0" y="2" width="(\d+)"', shown) == [(tone, str(width))]
    assert ("expired" in shown) is (days > 100)


def test_who_fails_is_not_well() -> None:
    assert "gone warn" in bar(BEGIN, failures=1)


def test_a_life_of_no_length_and_a_renewal_outside_of_it() -> None:
    assert 'x="994"' in bar(BEGIN, renew_at=BEGIN + 200 * DAY)
    assert "expired" in bar(BEGIN, not_after=BEGIN)


def test_without_a_certificate_there_is_no_bar() -> None:
    assert bar(BEGIN, not_before=None, not_after=None) == '<p class="soft small">no certificate of its own</p>'
