"""Where renewals are placed."""

import json
from collections import Counter
from datetime import timedelta
from random import Random

import pytest

from proxyd.core.certificate_state import Ready
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Held, Plan
from proxyd.core.renewal import RenewalWindow, Validity
from proxyd.core.task import OrderTask, WindowTask
from tests.unit.core.test_fleet import (
    CA,
    HOUR,
    NOW,
    due,
    fleet_of,
    held,
    lineage,
    orders_of,
)


def test_a_fleet_stays_spread_over_a_restart() -> None:
    fleet = fleet_of(200)
    (new,) = [task for task in fleet.tasks(NOW, 1, 0) if isinstance(task, OrderTask)]
    validity = Validity(not_before=NOW, not_after=NOW + timedelta(days=90))
    fleet.issued(new, Held(validity=validity, serial=199, cert_id="", issuer=CA, is_owned=True), "http-01", NOW)
    later = NOW + timedelta(days=30)
    fresh = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fresh.authority(CA)
    for one in reversed(range(200)):
        fresh.add(Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)), later)
        fresh.restore(lineage(one), json.loads(json.dumps(fleet.document(lineage(one)))), later)
        held = fleet.held(lineage(one))
        assert held is not None
        fresh.found(lineage(one), held, later)
    assert [due(fresh, one) for one in range(200)] == [due(fleet, one) for one in range(200)]


def test_a_fleet_whose_places_were_lost_is_not_renewed_at_once() -> None:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fleet.authority(CA)
    life = timedelta(days=90)
    fleet.expect(600)
    for one in range(600):
        began = NOW - life * 0.68 * (one / 600)  # the windows went beyond two thirds
        fleet.add(Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)), NOW)
        validity = Validity(not_before=began, not_after=began + life)
        unknown = Held(validity=validity, serial=one, cert_id=f"ari{one}", issuer=None, is_owned=False)
        fleet.found(lineage(one), unknown, NOW)
    times = [at for one in range(600) if (at := due(fleet, one))]
    assert len([at for at in times if at <= NOW + HOUR]) <= 3
    assert Counter((at - NOW).days for at in times)[0] <= 3 * 600 / 60
    assert all(at <= NOW + life * 0.72 - life * 0.68 * (one / 600) for one, at in enumerate(times))
    lone = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    lone.add(Plan(lineage=lineage(0), issuers=(CA,), challenges=("http-01",)), NOW)
    validity = Validity(not_before=NOW - life * 0.68, not_after=NOW + life * 0.32)
    lone.found(lineage(0), Held(validity=validity, serial=0, cert_id="", issuer=None, is_owned=False), NOW)
    at = due(lone, 0)
    assert at is not None
    assert at <= NOW


def test_a_window_that_opens_when_the_certificate_is_over_delays_nothing() -> None:
    fleet = fleet_of(2)
    (task,) = [task for task in fleet.tasks(NOW, 0) if isinstance(task, WindowTask)]
    before = due(fleet, 0)
    start = NOW + timedelta(days=400)
    never = RenewalWindow(cert_id=task.cert_id, start=start, end=start + timedelta(days=1))
    fleet.window(task.lineage, task.cert_id, never, None, NOW)
    assert due(fleet, 0) == before


@pytest.mark.parametrize(("count", "is_spread"), [(50, False), (200, True)])
def test_the_windows_of_a_large_fleet_alone_are_left_ahead_of_time(count: int, *, is_spread: bool) -> None:
    fleet = fleet_of(count)
    fleet.expect(count)
    begin = NOW + timedelta(days=59)
    for number in range(count - 1):
        window = RenewalWindow(cert_id=f"ari{number}", start=begin, end=begin + timedelta(days=2))
        fleet.window(lineage(number), f"ari{number}", window, None, NOW)
    states = [fleet.state(lineage(number)) for number in range(count - 1)]
    early = [state for state in states if isinstance(state, Ready) and state.renew_at < begin]
    assert bool(early) is is_spread
    assert all(isinstance(state, Ready) and state.renew_at < begin + timedelta(days=2) for state in states)


def test_a_certificate_that_is_not_valid_yet_is_due_whatever_its_window() -> None:
    fleet = fleet_of(2)
    later = held(7, NOW + 400 * timedelta(days=1))
    fleet.found(lineage(1), later, NOW)
    window = RenewalWindow(cert_id="ari7", start=later.validity.not_before, end=later.validity.not_after)
    fleet.window(lineage(1), "ari7", window, None, NOW)
    (task,) = orders_of(fleet, NOW)
    assert task.lineage == lineage(1)
    fleet.issued(task, held(8), "http-01", NOW)
    assert not orders_of(fleet, NOW)
