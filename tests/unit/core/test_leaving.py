"""Hosts that leave the configuration while their order runs: what comes of it is kept for when they come back."""

import pytest

from proxyd.core.certificate_state import Blocked, Waiting
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.state_document import read_failed
from proxyd.core.task import OrderTask
from tests.unit.core.test_fleet import NOW, fleet_of, lineage, order_of

NO = Failure(kind=FailureKind.VALIDATION, message="no")


def leaving() -> tuple[Fleet, OrderTask]:
    """Return a fleet whose host failed once and left while the second order runs."""
    fleet = fleet_of(1)
    fleet.failed(order_of(fleet, NOW), NO, NOW)
    at = fleet.due(lineage(0), NOW)
    assert at is not None
    task = order_of(fleet, at)
    fleet.forget(lineage(0))
    return fleet, task


def test_what_was_kept_before_the_order_is_not_replaced_by_nothing_while_it_runs() -> None:
    fleet, task = leaving()
    assert not fleet.document(lineage(0))
    fleet.not_sent(task, Failure(kind=FailureKind.LOCAL, message="not our turn"), NOW, NOW)
    assert not fleet.document(lineage(0))


@pytest.mark.parametrize("kind", [*FailureKind])
def test_a_failure_counts(kind: FailureKind) -> None:
    fleet, task = leaving()
    fleet.failed(task, Failure(kind=kind, message="no"), NOW, issued=True)
    document = fleet.document(lineage(0))
    state = read_failed(document)
    assert isinstance(state, Waiting | Blocked)
    assert state.failures == 2
    assert state.failure.kind is kind
    assert document["in_vain"] is True


def test_a_certificate_of_no_use_counts() -> None:
    fleet, task = leaving()
    fleet.issued_in_vain(task, Failure(kind=FailureKind.UNUSABLE, message="taken back"), NOW)
    document = fleet.document(lineage(0))
    state = read_failed(document)
    assert isinstance(state, Waiting)
    assert state.failures == 2
    assert document["in_vain"] is True


@pytest.mark.parametrize("kind", [FailureKind.HOST_REFUSED, FailureKind.ACCOUNT_REFUSED])
def test_a_refusal_blocks_it(kind: FailureKind) -> None:
    fleet, task = leaving()
    fleet.failed(task, Failure(kind=kind, message="no"), NOW)
    assert isinstance(read_failed(fleet.document(lineage(0))), Blocked)
