"""A fleet whose clock was wrong and is righted."""

from collections import Counter
from datetime import timedelta

import pytest

from proxyd.core.authority import Authority
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.certificate_state import Ready
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.lineage import Held, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT
from proxyd.core.renewal import Validity
from proxyd.core.task import OrderTask, WindowTask
from tests.unit.core.test_fleet import (
    CA,
    NOW,
    YEARS,
    fleet_of,
    held,
    lineage,
    order_of,
    orders_of,
)


def test_what_failed_by_a_wrong_clock_is_tried_when_it_is_right() -> None:
    fleet = fleet_of(1)
    failure = Failure(kind=FailureKind.LOCAL, message="the clock of this machine is wrong")
    fleet.failed(order_of(fleet, NOW + YEARS), failure, NOW + YEARS)
    assert not fleet.tasks(NOW, 4, 0)
    fleet.clock_righted(NOW)
    assert order_of(fleet, NOW).lineage == lineage(0)


def test_a_failed_validation_wins_no_retry_by_a_step_of_the_clock() -> None:
    fleet = fleet_of(1)
    failure = Failure(kind=FailureKind.VALIDATION, message="unauthorized")
    for again in (timedelta(0), timedelta(minutes=2), timedelta(minutes=20), timedelta(hours=3)):
        fleet.failed(order_of(fleet, NOW + YEARS + again), failure, NOW + YEARS + again)
    fleet.clock_righted(NOW)
    wake = fleet.wake_at(windows=False)
    assert wake is not None
    assert timedelta(hours=21) < wake - NOW < timedelta(hours=27)
    document = fleet.document(lineage(0))
    again_fleet = fleet_of(1)
    again_fleet.restore(lineage(0), document, NOW - YEARS)  # kept under a wrong clock, read under the right one
    wake = again_fleet.wake_at(windows=False)
    assert wake is not None
    assert timedelta(hours=21) < wake - (NOW - YEARS) < timedelta(hours=27)


def test_a_certificate_of_another_ca_is_due_when_the_clock_is_right() -> None:
    fleet = fleet_of(1)
    validity = Validity(not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=89))
    foreign = Held(validity=validity, serial=1, cert_id="x", issuer="https://staging.example/dir", is_owned=True)
    fleet.found(lineage(0), foreign, NOW + YEARS)
    assert not fleet.tasks(NOW, 4, 0)
    fleet.clock_righted(NOW)
    assert order_of(fleet, NOW).lineage == lineage(0)


def test_what_was_due_by_a_wrong_clock_only_is_left_alone_when_it_is_right() -> None:
    fleet, begun = fleet_of(40), NOW - timedelta(days=20)
    validity = Validity(not_before=begun, not_after=begun + timedelta(days=90))
    held = Held(validity=validity, serial=1, cert_id="", issuer=CA, is_owned=True)
    for number in range(40):
        fleet.found(lineage(number), held, NOW + YEARS)
    failed = [task for task in fleet.tasks(NOW + YEARS, 20, 0) if isinstance(task, OrderTask)]
    for task in failed:
        fleet.failed(task, Failure(kind=FailureKind.LOCAL, message="the clock"), NOW + YEARS)
    assert len(failed) == 20  # the others wait for their turn
    fleet.clock_righted(NOW)
    states = [fleet.state(lineage(number)) for number in range(40)]
    days = Counter(state.renew_at.date() for state in states if isinstance(state, Ready))
    assert days.total() == 40
    assert min(days) > NOW.date()
    assert max(days.values()) <= 5


def test_windows_are_asked_for_twice_a_day_after_a_step_back() -> None:
    fleet = fleet_of(2)
    (task,) = fleet.tasks(NOW + YEARS, 0)
    assert isinstance(task, WindowTask)
    fleet.window(task.lineage, task.cert_id, None, None, NOW + YEARS)
    fleet.clock_righted(NOW)
    asked = fleet.wake_at(orders=False)
    assert asked is not None
    assert asked <= NOW + timedelta(hours=12)


def test_a_ca_that_seemed_down_by_a_wrong_clock_is_asked_at_once_when_it_is_right() -> None:
    fleet = fleet_of(1)
    fleet.update([Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)) for one in range(3)], NOW)
    failure = Failure(kind=FailureKind.CA, message="certificate has expired")
    for task in fleet.tasks(NOW + YEARS, 4, 0):
        assert isinstance(task, OrderTask)
        fleet.failed(task, failure, NOW + YEARS)
    fleet.clock_righted(NOW)
    assert len(fleet.tasks(NOW, 4, 0)) == 3


def test_full_buckets_of_a_wrong_clock_do_not_starve_us() -> None:
    limits = LETS_ENCRYPT
    authority = Authority(CA, limits, registered_domain=lambda name: name.text)
    host = lineage(0)
    order = CertificateOrder(host=host.host, names=host.names, key_kind="p256", replaces=None, is_renewal=False)
    for _ in range(5):
        authority.started(order, NOW + YEARS)
        authority.succeeded(order, NOW + YEARS)
    assert authority.refusal(order, NOW) is not None
    authority.settle(NOW)
    refused = authority.refusal(order, NOW)
    assert refused is not None  # unknown is no reason to hammer
    assert refused[1] <= NOW + limits.duplicates.refill
    assert authority.history(order) == []
    kept = Authority(CA, limits, registered_domain=lambda name: name.text)
    kept.read_document(authority.to_document(NOW), NOW - YEARS)
    refused = kept.refusal(order, NOW - YEARS)
    assert refused is not None
    assert refused[1] <= NOW - YEARS + limits.duplicates.refill


def test_what_seemed_not_valid_yet_by_a_clock_that_was_behind_is_left_alone_when_it_is_right() -> None:
    fleet = fleet_of(2)
    fleet.found(lineage(0), held(7), NOW - YEARS)
    fleet.found(lineage(1), held(8), NOW - YEARS)
    assert len(orders_of(fleet, NOW - YEARS)) == 2
    fleet = fleet_of(3)
    for number in range(3):
        fleet.found(lineage(number), held(number), NOW - YEARS)
    fleet.clock_righted(NOW)
    assert not orders_of(fleet, NOW)
    assert all(isinstance(fleet.state(lineage(number)), Ready) for number in range(3))


@pytest.mark.parametrize("kind", [FailureKind.LOCAL, FailureKind.CA])
def test_an_order_that_a_wrong_clock_began_is_not_tried_again_when_it_is_right(kind: FailureKind) -> None:
    fleet = fleet_of(1)
    fleet.update([Plan(lineage=lineage(0), issuers=(CA,), challenges=("http-01",))], NOW)
    fleet.found(lineage(0), held(7), NOW + YEARS)
    order = order_of(fleet, NOW + YEARS)
    fleet.clock_righted(NOW)
    fleet.failed(order, Failure(kind=kind, message="the clock is not the CA's"), NOW)
    state = fleet.state(lineage(0))
    assert isinstance(state, Ready)
    assert state.renew_at > NOW + timedelta(days=30)
