"""Certificates that are to be renewed already when they come, of a CA that dates them back or whose clock is behind."""

import json
from datetime import datetime, timedelta
from random import Random

import pytest

from proxyd.core.certificate_state import Ready, Waiting
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Held, Lineage
from proxyd.core.renewal import Validity
from tests.unit.core.test_fleet import CA, HOUR, NOW, due, fleet_of, held, lineage, order_of, orders_of, plans, twins


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("lifetime", "left", "most"),
    [
        (90 * 24 * HOUR, 5 * 24 * HOUR, 4),
        (90 * 24 * HOUR, HOUR, 2 * 7),  # two a day: what serves is over soon
        (90 * 24 * HOUR, timedelta(seconds=2), 2 * 7),
        (90 * 24 * HOUR, 25 * 24 * HOUR, 1),
        (HOUR, timedelta(minutes=4), (2 * 2 * 24 + 2) * 7),
        (HOUR, timedelta(seconds=2), (2 * 2 * 24 + 2) * 7),
    ],
)
def test_certificates_that_come_nearly_over_are_not_ordered_again_at_once(
    lifetime: timedelta, left: timedelta, most: int, restarts: bool
) -> None:
    fleet, authority, document = fleet_of(1), dict[str, object](), dict[str, object]()
    now, ordered, serving = NOW, list[datetime](), dict[str, Held]()
    while now < NOW + timedelta(days=7):
        for task in orders_of(fleet, now):
            now += timedelta(seconds=1)
            ordered.append(now)
            validity = Validity(not_before=now + left - lifetime, not_after=now + left)
            new = Held(validity=validity, serial=len(ordered), cert_id="", issuer=CA, is_owned=True)
            serving["held"] = new
            fleet.issued(task, new, "http-01", now)
            state = fleet.state(lineage(0))
            assert isinstance(state, Waiting)
            assert "to be renewed already" in state.failure.message
            assert state.retry_at >= now + min(left / 2, timedelta(days=7))
        if restarts:
            authority = json.loads(json.dumps(fleet.authority(CA).to_document(now)))
            document = json.loads(json.dumps(fleet.document(lineage(0))))
            fleet = Fleet(rng=Random(len(ordered)), registered_domain=lambda name: name.text)
            fleet.authority(CA).read_document(authority, now)
            fleet.update(plans(lineage(0), challenges=("http-01",)), now)
            fleet.restore(lineage(0), document, now)
            fleet.found(lineage(0), serving["held"], now)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    assert 0 < len(ordered) <= most
    first_minutes = [at for at in ordered if at < NOW + timedelta(minutes=10)]
    assert len(first_minutes) <= (2 if lifetime > HOUR else 30)


def test_a_certificate_that_comes_nearly_over_is_no_longer_one_when_the_next_is_good() -> None:
    fleet = fleet_of(1)
    late = Validity(not_before=NOW - timedelta(days=85), not_after=NOW + timedelta(days=5))
    fleet.issued(order_of(fleet, NOW), Held(validity=late, serial=1, cert_id="", issuer=CA, is_owned=True), None, NOW)
    at = due(fleet, 0)
    assert at is not None
    assert at >= NOW + timedelta(days=2.5)  # not when it is over: the CA gives no others
    fleet.issued(order_of(fleet, at), held(2, at), None, at)
    assert isinstance(fleet.state(lineage(0)), Ready)


def test_two_key_kinds_whose_certificates_come_nearly_over_do_not_order_each_other() -> None:
    fleet = fleet_of(0)
    fleet.update(plans(*twins()), NOW)
    now, ordered = NOW, list[Lineage]()
    while now < NOW + timedelta(days=4):
        for task in orders_of(fleet, now):
            now += timedelta(seconds=5)
            ordered.append(task.lineage)
            late = Validity(not_before=now - timedelta(days=80), not_after=now + timedelta(days=10))
            new = Held(validity=late, serial=len(ordered), cert_id="", issuer=CA, is_owned=True)
            fleet.issued(task, new, "http-01", now)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    assert sorted(ordered, key=str) == sorted(twins(), key=str)
