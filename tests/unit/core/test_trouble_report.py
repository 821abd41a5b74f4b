"""Which troubles somebody should hear of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxyd.core.alarm import Alarm
from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.clock_watch import Doubt
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.notice import _WHAT
from proxyd.core.renewal import Validity
from proxyd.core.status import Facts
from proxyd.core.trouble import Trouble, TroubleKind, Urgency
from proxyd.core.trouble_report import troubles

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def failure(kind: FailureKind = FailureKind.VALIDATION, **more: Any) -> Failure:
    return replace(Failure(kind=kind, message="example.com: refused"), **more)


def facts(
    state: CertificateState, *, left: timedelta | None = 60 * DAY, host: str = "example.com", on_demand: bool = False
) -> Facts:
    name = Hostname(host)
    plan = Plan(lineage=Lineage(name, (name,), "p256"), issuers=("ca",), challenges=(), on_demand=on_demand)
    held = None
    if left is not None:
        validity = Validity(not_before=NOW + left - 90 * DAY, not_after=NOW + left)
        held = Held(validity=validity, serial=1, cert_id="", issuer="ca", is_owned=True)
    return Facts(plan=plan, state=state, held=held)


def waiting(failures: int = 1, **more: Any) -> Waiting:
    return Waiting(retry_at=NOW + DAY, failures=failures, failure=failure(**more))


def only(*many: Facts) -> Trouble:
    (found,) = troubles(many, NOW)
    return found


def test_all_well_is_no_trouble() -> None:
    ready = Ready(renew_at=NOW + DAY)
    fine: list[Facts] = [
        facts(ready),
        facts(Ready(renew_at=NOW - DAY), left=3 * DAY),  # its turn comes
        facts(Missing(), left=None),
        facts(Ordering(failures=0), left=None),
        facts(waiting(0, kind=FailureKind.RATE_LIMITED)),
        facts(waiting(0, kind=FailureKind.RATE_LIMITED), left=None),
        facts(Dormant(since=NOW, probe_at=NOW, failures=9, failure=failure()), left=-DAY),
        facts(
            Ordering(
                failures=9, last=failure(), dormant=Dormant(since=NOW, probe_at=NOW, failures=9, failure=failure())
            )
        ),
        facts(waiting(3), left=None, on_demand=True),
    ]
    assert troubles(fine, NOW) == []


@pytest.mark.parametrize(
    ("left", "urgency"),
    [
        (30 * DAY, Urgency.NOTICED),
        (18 * DAY, Urgency.FIFTH_LEFT),
        (9 * DAY, Urgency.TENTH_LEFT),
        (4.5 * DAY, Urgency.TWENTIETH_LEFT),
        (timedelta(0), Urgency.NOTHING_SERVES),
        (None, Urgency.NOTHING_SERVES),
    ],
)
def test_the_first_failure_and_then_by_the_life_that_is_left(left: timedelta | None, urgency: Urgency) -> None:
    found = only(facts(waiting(), left=left))
    assert (found.kind, found.urgency, found.next_try) == (TroubleKind.RENEWAL_FAILED, urgency, NOW + DAY)
    assert found.runs_out_at == (NOW + left if left else None)
    assert only(facts(Ordering(failures=1, last=failure()), left=left)).urgency is urgency


def test_a_renewal_that_is_not_sent_for_long_is_told_by_the_life_that_is_left() -> None:
    assert troubles([facts(waiting(0))], NOW) == []
    assert only(facts(waiting(0), left=17 * DAY)).urgency is Urgency.FIFTH_LEFT


def test_what_another_certificate_covers_is_not_urgent() -> None:
    covered = replace(facts(waiting(), left=None), stand_in_until=NOW + DAY)
    assert only(covered).urgency is Urgency.NOTICED


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (Blocked(probe_at=NOW, failures=1, failure=failure(FailureKind.HOST_REFUSED)), TroubleKind.BLOCKED),
        (waiting(0, kind=FailureKind.RATE_LIMITED, is_ceiling=True), TroubleKind.BREAKER_TRIPPED),
        (
            Blocked(
                probe_at=NOW,
                failures=1,
                failure=failure(FailureKind.ACCOUNT_REFUSED, problem="userActionRequired"),
            ),
            TroubleKind.TERMS_CHANGED,
        ),
        (Blocked(probe_at=NOW, failures=1, failure=failure(FailureKind.ACCOUNT_REFUSED)), TroubleKind.ACCOUNT_REFUSED),
        (waiting(kind=FailureKind.CA), TroubleKind.CA_FAILED),
        (waiting(kind=FailureKind.UNUSABLE, is_taken_back=True), TroubleKind.SELF_HANDSHAKE_FAILED),
    ],
)
def test_kinds(state: CertificateState, kind: TroubleKind) -> None:
    assert only(facts(state)).kind is kind


def test_what_hosts_have_in_common_is_one_trouble_until_little_is_left() -> None:
    down = waiting(kind=FailureKind.CA)
    first, second = facts(down, host="a.example"), facts(down, host="b.example")
    found = only(first, second)
    assert found.key == "ca ca"
    assert [host.text for host in found.hosts] == ["a.example", "b.example"]
    late = facts(down, host="c.example", left=9 * DAY)
    keys = {one.key: one.urgency for one in troubles([first, late], NOW)}
    assert keys == {"ca ca": Urgency.NOTICED, "certificate c.example p256": Urgency.TENTH_LEFT}


def test_alarms_cache_and_clock() -> None:
    alarm = Alarm(reason="not confirmed", to_do="Look.", kind=TroubleKind.SELF_HANDSHAKE_FAILED)
    host = replace(facts(Ready(renew_at=NOW + DAY)), alarms=(alarm,))
    found = troubles(
        [host], NOW, doubt=Doubt(reason="clock", holds=True), cache=Alarm(reason="disk full", to_do="Free space.")
    )
    assert [one.kind for one in found] == [
        TroubleKind.CACHE_NOT_DURABLE,
        TroubleKind.CLOCK_WRONG,
        TroubleKind.SELF_HANDSHAKE_FAILED,
    ]
    assert found[2].reason == "example.com: not confirmed"


def test_what_is_wrong_with_the_whole_is_one_of_a_kind() -> None:
    refused = Alarm(reason="the file was refused", to_do="Mend it.", kind=TroubleKind.RELOAD_REFUSED)
    log = Alarm(reason="the log takes nothing", to_do="Make room.", kind=TroubleKind.ACCESS_LOG_FAILED)
    found = troubles([], NOW, others=[refused, log])
    assert [(one.key, one.reason, one.to_do) for one in found] == [
        ("reload_refused", refused.reason, refused.to_do),
        ("access_log_failed", log.reason, log.to_do),
    ]
    assert {one.urgency for one in found} == {Urgency.NOTICED}


def test_every_kind_has_its_words() -> None:
    assert set(_WHAT) == set(TroubleKind)
