"""The last tenth of a life after certificates that were of no use: our ceiling is two a day, not four a week."""

from datetime import datetime, timedelta
from random import Random

import pytest

from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Held
from proxyd.core.rate_ledger import LETS_ENCRYPT
from proxyd.core.renewal import Validity
from tests.unit.core.test_fleet import CA, HOUR, NOW, lineage, orders_of, plans

NO_USE = Failure(kind=FailureKind.CA, message="the CA sent a broken chain")


def tried(lifetime: timedelta, left: timedelta, *, bad_for: timedelta, has_ari: bool) -> tuple[list[timedelta], bool]:
    """Return what was left of the life at each order until one gave a certificate, and whether one did."""
    fleet = Fleet(rng=Random(1), registered_domain=lambda name: name.text)
    fleet.authority(CA, LETS_ENCRYPT).has_ari = has_ari
    fleet.update(plans(lineage(0)), NOW)
    validity = Validity(not_before=NOW + left - lifetime, not_after=NOW + left)
    held = Held(validity=validity, serial=1, cert_id="a.b", issuer=CA, is_owned=True)
    fleet.found(lineage(0), held, NOW)
    now, begun, at = NOW, None, list[timedelta]()
    while now < validity.not_after:
        for task in orders_of(fleet, now):
            begun = begun or now
            at.append(validity.not_after - now)
            if now >= begun + bad_for:
                return at, True
            fleet.failed(task, NO_USE, now, issued=True)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now + HOUR)
    return at, False


@pytest.mark.parametrize("has_ari", [False, True])
@pytest.mark.parametrize(("hours", "left"), [(160, 80), (45 * 24, 96), (90 * 24, 240)])
def test_a_host_does_not_run_out_after_its_ca_was_mended(hours: int, left: int, has_ari: bool) -> None:
    _, is_obtained = tried(hours * HOUR, left * HOUR, bad_for=26 * HOUR, has_ari=has_ari)
    assert is_obtained


@pytest.mark.parametrize("hours", [160, 45 * 24, 90 * 24])
def test_a_ca_that_is_never_mended_is_asked_for_two_a_day(hours: int) -> None:
    at, is_obtained = tried(hours * HOUR, hours * HOUR / 5, bad_for=10_000 * HOUR, has_ari=False)
    assert not is_obtained
    for left in at:
        assert sum(left - 24 * HOUR < one <= left for one in at) <= 2


def test_who_waits_for_our_ceiling_looks_again_when_the_last_tenth_begins() -> None:
    fleet = Fleet(rng=Random(1), registered_domain=lambda name: name.text)
    fleet.update(plans(lineage(0)), NOW)
    validity = Validity(not_before=NOW - timedelta(days=80), not_after=NOW + timedelta(days=10))
    fleet.found(lineage(0), Held(validity=validity, serial=1, cert_id="", issuer=CA, is_owned=True), NOW)
    (task,) = orders_of(fleet, NOW)
    for _ in range(3):
        fleet.authority(CA).gave(task.order, NOW)
    fleet.issued(task, Held(validity=validity, serial=2, cert_id="", issuer=CA, is_owned=True), None, NOW)
    refused: list[datetime] = []
    fleet.postponed = lambda _lineage, _failure, until: refused.append(until)
    fleet.wish(lineage(0), NOW)
    assert not orders_of(fleet, NOW)
    assert refused == [NOW + timedelta(days=1)]
