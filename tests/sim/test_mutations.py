"""The judge notices: each mutation of the deciding code violates what it has to."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from proxyd.core import certificate_state, circuit_breaker, fleet, name_watch, placement
from proxyd.core.clock_watch import ClockWatch
from proxyd.core.fleet import Fleet
from proxyd.core.name_watch import NameWatch
from proxyd.core.rate_ledger import RateLedger
from proxyd.core.renewal import RenewalWindow, Validity
from proxyd.core.slots import Slots
from tests.sim.life import Simulation

Patch = pytest.MonkeyPatch


def renewal_at_expiry(patch: Patch) -> None:
    def at_expiry(validity: Validity, _window: RenewalWindow | None, _point: float) -> datetime:
        return validity.not_after - timedelta(minutes=5)

    for module in (fleet, placement):
        patch.setattr(module, "renew_at", at_expiry)
    patch.setattr(Slots, "place", lambda _self, wished, **_bounds: wished)


def no_ledger(patch: Patch) -> None:
    patch.setattr(RateLedger, "refusal", lambda *_: None)


def no_backoff(patch: Patch) -> None:
    patch.setattr(certificate_state, "retry_at", lambda _failure, _failures, now, _rng, **_: now + timedelta(minutes=5))
    patch.setattr(RateLedger, "refusal", lambda *_: None)


def waits_of_a_month(patch: Patch) -> None:
    patch.setattr(certificate_state, "retry_at", lambda _failure, _failures, now, _rng, **_: now + timedelta(days=30))


def no_slots(patch: Patch) -> None:
    patch.setattr(Slots, "place", lambda _self, wished, **_bounds: wished)
    for module in (fleet, placement):
        patch.setattr(module, "spread", lambda _host: 0.5)


def no_looks(patch: Patch) -> None:
    patch.setattr(NameWatch, "look", lambda *_: None)


def no_second_try(patch: Patch) -> None:
    patch.setattr(name_watch, "_AGAIN_AFTER", timedelta(days=30))


def everybody_left(patch: Patch) -> None:
    patch.setattr("tests.sim.names.has_left", lambda **_: True)


def nobody_left(patch: Patch) -> None:
    patch.setattr("tests.sim.names.has_left", lambda **_: False)


def dormant_daily(patch: Patch) -> None:
    patch.setattr(certificate_state, "_DORMANT_RETRY", timedelta(days=1))


def the_wall_is_believed(patch: Patch) -> None:
    patch.setattr(ClockWatch, "now", lambda _self, wall, _elapsed: wall)
    patch.setattr(ClockWatch, "doubt", lambda *_: None)


def always_due(patch: Patch) -> None:
    """A bug that asks for a certificate again and again."""
    for module in (fleet, placement):
        patch.setattr(module, "renew_at", lambda validity, _window, _point: validity.not_before)
    patch.setattr(Fleet, "_came_late", lambda self, task, member, _held, now: self._ready(task.lineage, member, now))


def no_ceiling(patch: Patch) -> None:
    always_due(patch)
    patch.setattr(circuit_breaker, "closed_until", lambda *_, **__: None)


def early(patch: Patch) -> None:
    """Too early, but not often enough for our ceiling."""
    for module in (fleet, placement):
        patch.setattr(module, "renew_at", lambda validity, _window, _point: validity.not_before + validity.lifetime / 5)
    patch.setattr(Fleet, "_came_late", lambda self, task, member, _held, now: self._ready(task.lineage, member, now))


#: How, with which seed, how many hosts, for how many days, and what is violated.
MUTATIONS: list[tuple[Callable[[Patch], None], int, int, int, str]] = [
    (renewal_at_expiry, 1, 60, 730, "expired"),
    (waits_of_a_month, 1, 60, 730, "expired"),
    (no_ledger, 1, 400, 5, "had to refuse us"),
    (no_backoff, 1, 60, 150, "had to refuse us"),
    (no_slots, 1, 200, 100, "renewals on"),
    (no_looks, 1, 60, 730, "after it was mended"),
    (no_second_try, 1, 60, 730, "after it was mended"),
    (everybody_left, 1, 60, 730, "though its names did not leave"),
    (nobody_left, 1, 60, 730, "was not dormant"),
    (dormant_daily, 1, 60, 730, "is dormant, ordered"),
    (the_wall_is_believed, 4, 20, 730, "expired"),
    (no_ceiling, 1, 5, 60, "certificates in a week"),
    (early, 1, 20, 60, "after it was issued"),
]


@pytest.mark.parametrize(
    ("mutate", "seed", "hosts", "days", "violated"), MUTATIONS, ids=[mutate.__name__ for mutate, *_ in MUTATIONS]
)
def test_the_judge_notices(
    mutate: Callable[[Patch], None], seed: int, hosts: int, days: int, violated: str, monkeypatch: Patch
) -> None:
    mutate(monkeypatch)
    found = Simulation(seed, hosts, days=days).run()
    assert any(violated in violation for violation in found), found[:3]


def test_our_ceiling_holds_whatever_asks_for_certificates(monkeypatch: Patch) -> None:
    always_due(monkeypatch)
    found = Simulation(1, 5, calm=True, days=100).run()
    assert not [violation for violation in found if "in a week" in violation or "refuse us" in violation]
