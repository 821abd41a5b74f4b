"""Which CA is asked for the renewal window of a certificate of which nobody wrote down where it came from."""

from datetime import timedelta
from random import Random

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.certificate_state import Ready, Waiting
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT
from proxyd.core.renewal import RenewalWindow, Validity
from proxyd.core.task import OrderTask, WindowTask
from tests.support.strategies import NOW

FIRST, SECOND = "https://first.example/dir", "https://second.example/dir"
HOST = Hostname("host.example.com")
ONE = Lineage(host=HOST, names=(HOST,), key_kind="p256")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
VALIDITY = Validity(not_before=NOW - 10 * DAY, not_after=NOW + 80 * DAY)


def fleet_of(*issuers: str, origin: str | None = None) -> Fleet:
    """The certificate is from `origin`, None: unknown."""
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    for one in issuers:
        fleet.authority(one).has_ari = True
    fleet.update([Plan(lineage=ONE, issuers=issuers, challenges=("http-01",))], NOW)
    fleet.found(ONE, Held(validity=VALIDITY, serial=7, cert_id="ari", issuer=origin, is_owned=False), NOW)
    return fleet


def asked(fleet: Fleet, window: RenewalWindow | None, retry_after: timedelta | None = None) -> list[tuple[str, float]]:
    """Answer every question of two days, always with `window`; return of whom and after how many hours."""
    found, now = [], NOW
    while (at := fleet.wake_at(orders=False)) is not None and at < NOW + 2 * DAY:
        now = max(now, at)
        for task in fleet.tasks(now, 0):
            assert isinstance(task, WindowTask)
            found.append((task.issuer, (now - NOW) / HOUR))
            fleet.window(ONE, task.cert_id, window, retry_after, now)
    return found


def window_of(begins: timedelta, ends: timedelta) -> RenewalWindow:
    return RenewalWindow(cert_id="ari", start=NOW + begins, end=NOW + ends)


def test_each_ca_is_asked_and_when_none_knows_it_rarely_again() -> None:
    once = [(FIRST, 0), (SECOND, 0)]
    again = [(name, hours) for hours in (0, 12, 24, 36) for name, _ in once]
    assert asked(fleet_of(FIRST, SECOND), None) == again
    assert asked(fleet_of(FIRST, SECOND), None, timedelta(seconds=1)) == again
    assert asked(fleet_of(FIRST), None) == [(FIRST, hours) for hours in (0, 12, 24, 36)]


def test_the_one_that_answers_is_asked_from_then_on() -> None:
    fleet = fleet_of(FIRST, SECOND)
    (task,) = fleet.tasks(NOW, 0)
    assert isinstance(task, WindowTask)
    fleet.window(ONE, task.cert_id, None, None, NOW)
    later = window_of(40 * DAY, 42 * DAY)
    assert {name for name, _ in asked(fleet, later, 6 * HOUR)} == {SECOND}
    state = fleet.state(ONE)
    assert isinstance(state, Ready)
    assert later.start <= state.renew_at < later.end


def test_a_known_origin_is_asked_alone() -> None:
    assert {name for name, _ in asked(fleet_of(FIRST, SECOND, origin=SECOND), None)} == {SECOND}
    assert asked(fleet_of(FIRST, origin="https://gone.example/dir"), None) == []


def test_a_mass_revocation_is_seen_and_nobody_is_said_to_be_replaced() -> None:
    fleet = fleet_of(FIRST)
    assert not [task for task in fleet.tasks(NOW, 4) if isinstance(task, OrderTask)]
    fleet.window(ONE, "ari", window_of(-2 * HOUR, HOUR), None, NOW)
    (order,) = [task for task in fleet.tasks(NOW + HOUR, 4) if isinstance(task, OrderTask)]
    assert order.order.replaces is None  # whose account ordered it is not known
    assert not order.order.is_exempt


def test_a_change_of_the_cas_in_between_asks_those_that_are() -> None:
    fleet = fleet_of(FIRST, SECOND)
    fleet.tasks(NOW, 0)
    fleet.window(ONE, "ari", None, None, NOW)  # the second one would be next
    fleet.update([Plan(lineage=ONE, issuers=(FIRST,), challenges=("http-01",))], NOW)
    assert {name for name, _ in asked(fleet, None)} == {FIRST}


def test_the_ca_that_tells_the_window_gave_it_and_the_limit_for_new_ones_does_not_hold() -> None:
    fleet = Fleet(rng=Random(0), registered_domain=lambda _: "example.com")
    first, second = fleet.authority(FIRST, LETS_ENCRYPT), fleet.authority(SECOND, LETS_ENCRYPT)
    due = Validity(not_before=NOW - 70 * DAY, not_after=NOW + 20 * DAY)
    fleet.update([Plan(lineage=ONE, issuers=(FIRST, SECOND), challenges=("http-01",))], NOW)
    fleet.found(ONE, Held(validity=due, serial=7, cert_id="ari", issuer=None, is_owned=False), NOW)
    for number in range(50):
        name = Hostname(f"other{number}.example.com")
        for ledger in (first.ledger, second.ledger):
            assert ledger
            ledger.spend(CertificateOrder(host=name, names=(name,), key_kind="p256"), NOW)
    (question,) = fleet.tasks(NOW, 4)
    assert isinstance(question, WindowTask)
    assert isinstance(fleet.state(ONE), Waiting)  # for all that is known it would be a new one
    fleet.window(ONE, "ari", None, None, NOW)
    (question,) = fleet.tasks(NOW, 4)
    assert isinstance(question, WindowTask)
    assert question.issuer == SECOND
    fleet.window(ONE, "ari", window_of(-12 * DAY, -10 * DAY), None, NOW)
    held = fleet.held(ONE)
    assert held
    assert (held.issuer, held.is_owned) == (SECOND, False)
    (order,) = fleet.tasks(NOW, 4)
    assert isinstance(order, OrderTask)
    assert (order.issuer, order.order.is_renewal, order.order.replaces) == (SECOND, True, None)
