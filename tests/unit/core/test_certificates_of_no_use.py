"""Certificates that the CA issued, counted, and that are of no use."""

from datetime import datetime, timedelta
from random import Random

import pytest

from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Held, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT
from proxyd.core.renewal import Validity
from tests.unit.core.test_fleet import CA, HOUR, NOW, held, lineage, order_of, orders_of, plans

OTHER_CA = "https://other.example/dir"
NO_USE = Failure(kind=FailureKind.CA, message="the CA sent a certificate for victim.example")


def fleet_at_limits() -> Fleet:
    fleet = Fleet(rng=Random(1), registered_domain=lambda name: name.text)
    fleet.authority(CA, LETS_ENCRYPT)
    return fleet


@pytest.mark.parametrize(("is_ending", "most"), [(False, 4), (True, 9)])
def test_our_ceiling_and_the_mirror_of_the_limits_count_them(is_ending: bool, most: int) -> None:
    """In the last tenth of a life ours is that of a day; the CA's bucket of five fills up meanwhile."""
    fleet, now, ordered = fleet_at_limits(), NOW, list[datetime]()
    fleet.update(plans(lineage(0)), NOW)
    if is_ending:
        validity = Validity(not_before=NOW - timedelta(days=85), not_after=NOW + timedelta(days=5))
        fleet.found(lineage(0), Held(validity=validity, serial=1, cert_id="", issuer=CA, is_owned=False), NOW)
    while now < NOW + timedelta(days=7):
        for task in orders_of(fleet, now):
            fleet.failed(task, NO_USE, now, issued=True)
            ordered.append(now)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    for at in ordered:
        assert len([one for one in ordered if at <= one < at + timedelta(days=1)]) <= 2
    assert len([at for at in ordered if at < NOW + timedelta(days=1)]) == 2
    assert len(ordered) == most
    ledger = fleet.authority(CA).ledger
    assert ledger is not None
    spent = ledger.to_document(ordered[-1])
    assert any(key.startswith("duplicates") for key in spent)
    assert any(key.startswith("domain") for key in spent) is not is_ending  # a renewal takes none of it


def test_another_ca_gives_one_meanwhile() -> None:
    """Also when it could not while the first one still had room under our ceiling."""
    fleet, now = fleet_at_limits(), NOW
    fleet.update([Plan(lineage=lineage(0), issuers=(CA, OTHER_CA), challenges=("http-01",))], NOW)
    for _ in range(2):
        fleet.failed(order_of(fleet, now), NO_USE, now, issued=True)
        second = order_of(fleet, now)
        assert second.issuer == OTHER_CA
        fleet.failed(second, Failure(kind=FailureKind.CA, message="down"), now)
        now = fleet.wake_at(windows=False) or now
    assert now < NOW + HOUR
    third = order_of(fleet, now)
    assert third.issuer == OTHER_CA
    fleet.issued(third, held(1, now), None, now)


def test_what_a_reload_changed_meanwhile_is_counted_all_the_same() -> None:
    fleet = fleet_at_limits()
    fleet.update(plans(lineage(0)), NOW)
    task = order_of(fleet, NOW)
    fleet.authority(CA).ask_as("another account")
    fleet.failed(task, Failure(kind=FailureKind.ACCOUNT_REFUSED, message="no"), NOW, issued=True)
    assert fleet.authority(CA).history(task.order) == [NOW]
