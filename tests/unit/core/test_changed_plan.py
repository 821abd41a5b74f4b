"""What a restart takes over when the configuration was changed meanwhile: no more and no less than a reload does."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.renewal import Validity
from proxyd.core.task import OrderTask
from tests.support.strategies import NOW

A, B = Hostname("a.example"), Hostname("b.example")
SHARED, ALONE = (Lineage(host=A, names=names, key_kind="p256") for names in ((A, B), (A,)))
PLAN = Plan(lineage=SHARED, issuers=("one",), challenges=("tls-alpn-01",), fingerprint="one")
LIMIT = Failure(kind=FailureKind.RATE_LIMITED, message="later", problem="rateLimited", retry_after=timedelta(days=3))
UNPROVED = Failure(kind=FailureKind.VALIDATION, message="no", challenge="tls-alpn-01")
BLOCKED = Failure(kind=FailureKind.HOST_REFUSED, message="never", problem="rejectedIdentifier")
OTHER_CA = replace(PLAN, issuers=("two",), fingerprint="two")


def fleet_with(plan: Plan) -> Fleet:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fleet.update([plan], NOW)
    return fleet


def failed(failure: Failure) -> tuple[Fleet, datetime]:
    """Return a fleet whose one certificate failed three times, and the time."""
    fleet, now = fleet_with(PLAN), NOW
    for _ in range(3):
        for task in fleet.tasks(now, 1):
            assert isinstance(task, OrderTask)
            fleet.failed(task, failure, now)
        if failure is not UNPROVED:
            break
        now = fleet.wake_at() or now
    return fleet, now


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("failure", "plan", "is_tried"),
    [
        (LIMIT, PLAN, False),
        (LIMIT, OTHER_CA, True),
        (UNPROVED, PLAN, False),
        (UNPROVED, replace(PLAN, fingerprint="another contact"), False),
        (UNPROVED, replace(PLAN, challenges=("http-01",)), True),
        (UNPROVED, OTHER_CA, True),
        (BLOCKED, PLAN, False),
        (BLOCKED, replace(PLAN, fingerprint="another profile"), True),
    ],
)
def test_a_restart_ends_what_a_reload_would(failure: Failure, plan: Plan, is_tried: bool, restarts: bool) -> None:
    before, now = failed(failure)
    now += timedelta(seconds=1 if failure is not UNPROVED else -1)
    fleet = fleet_with(plan) if restarts else before
    if restarts:
        fleet.restore(SHARED, json.loads(json.dumps(before.document(SHARED))), now)
    else:
        fleet.update([plan], now)
    tasks = fleet.tasks(now, 1)
    assert bool(tasks) is is_tried
    for task in tasks:
        assert isinstance(task, OrderTask)
        fleet.failed(task, UNPROVED, now)  # no retry is won: its schedule goes on
    if tasks and failure is UNPROVED:
        assert timedelta(minutes=89) < (fleet.wake_at() or now) - now


def test_without_its_broken_alias_a_host_waits_for_nothing_of_it() -> None:
    before, now = failed(UNPROVED)
    document = json.loads(json.dumps(before.document(SHARED)))
    fleet = fleet_with(replace(PLAN, lineage=ALONE))
    fleet.restore(ALONE, document, now)
    assert len(fleet.tasks(now, 1)) == 1


def test_names_in_another_order_win_no_retry() -> None:
    before, now = failed(UNPROVED)
    document = json.loads(json.dumps(before.document(SHARED)))
    turned = replace(SHARED, names=(B, A))
    fleet = fleet_with(replace(PLAN, lineage=turned))
    fleet.restore(turned, document, now)
    assert not fleet.tasks(now - timedelta(seconds=1), 1)


def test_what_an_earlier_version_kept_still_holds() -> None:
    before, now = failed(UNPROVED)
    document = json.loads(json.dumps(before.document(SHARED)))
    for key in ("names", "issuers", "challenges"):
        del document[key]
    fleet = fleet_with(PLAN)
    fleet.restore(SHARED, document, now)
    assert not fleet.tasks(now - timedelta(seconds=1), 1)


DOWN = Failure(kind=FailureKind.CA, message="nobody answers")


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("state", ["about to be ordered", "under way", "failed"])
def test_the_certificate_of_a_ca_that_is_the_right_one_again_serves_on(state: str, restarts: bool) -> None:
    """A mistake in `acme.server`, noticed and taken back, costs no order."""
    validity = Validity(not_before=NOW - timedelta(days=10), not_after=NOW + timedelta(days=80))
    held = Held(validity=validity, serial=1, cert_id="", issuer="one", is_owned=True)
    fleet, now = fleet_with(PLAN), NOW
    fleet.found(SHARED, held, now)
    assert not fleet.tasks(now, 1)
    fleet.update([OTHER_CA], now)
    tasks = [] if state == "about to be ordered" else fleet.tasks(now, 1)
    for task in tasks:
        assert isinstance(task, OrderTask)
        if state == "failed":
            fleet.failed(task, DOWN, now)
    document = json.loads(json.dumps(fleet.document(SHARED)))
    if restarts:
        fleet = fleet_with(PLAN)
        fleet.restore(SHARED, document, now)
        fleet.found(SHARED, held, now)
    else:
        fleet.update([PLAN], now)
        for task in tasks if state == "under way" else ():
            assert isinstance(task, OrderTask)
            fleet.failed(task, DOWN, now)
    assert not fleet.tasks(now + timedelta(hours=2), 1)
    assert (fleet.wake_at() or now) > now + timedelta(days=30)


def test_what_is_due_is_tried_at_the_ca_that_is_the_right_one_again() -> None:
    validity = Validity(not_before=NOW - timedelta(days=80), not_after=NOW + timedelta(days=10))
    fleet = fleet_with(PLAN)
    fleet.found(SHARED, Held(validity=validity, serial=1, cert_id="", issuer="one", is_owned=True), NOW)
    (task,) = fleet.tasks(NOW, 1)
    assert isinstance(task, OrderTask)
    fleet.failed(task, DOWN, NOW)
    fleet.update([OTHER_CA], NOW)
    fleet.update([PLAN], NOW)
    (task,) = fleet.tasks(NOW, 1)
    assert isinstance(task, OrderTask)
    assert task.issuer == "one"


def test_our_ceiling_counts_the_certificates_in_the_cache_when_nobody_remembers_them() -> None:
    fleet = fleet_with(PLAN)
    fleet.issued_before(SHARED, [NOW - timedelta(hours=one) for one in (2, 2, 200)], NOW)
    assert not fleet.tasks(NOW, 1)
    refused = fleet.refusal(SHARED, NOW)
    assert refused is not None
    assert refused[0].is_ceiling
    assert refused[1] == NOW + timedelta(hours=22)
