"""Which orders and questions are begun, and in which order."""

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.certificate_state import Ready, Waiting
from proxyd.core.explanation import explain
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT
from proxyd.core.renewal import RenewalWindow
from proxyd.core.status import host_statuses
from proxyd.core.task import OrderTask, WindowTask
from tests.unit.core.test_fleet import CA, HOUR, NOW, due, fleet_of, held, lineage, orders_of, plans

OTHER_CA = "https://other.example/dir"


def two_cas(count: int) -> Fleet:
    """Four orders of each CA; `count` hosts at one, host 99 at the other."""
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text, orders_per_ca=4, windows_per_ca=4)
    other = Plan(lineage=lineage(99), issuers=(OTHER_CA,), challenges=("http-01",))
    fleet.update([*plans(*map(lineage, range(count))), other], NOW)
    return fleet


def test_a_ca_that_hangs_keeps_nobody_waiting_who_wants_another() -> None:
    fleet = two_cas(9)
    began = orders_of(fleet, NOW, 16)
    assert Counter(task.issuer for task in began) == {CA: 4, OTHER_CA: 1}
    assert not orders_of(fleet, NOW + HOUR, 16)
    assert fleet.wake_at(windows=False) is None  # the end of an order wakes us
    fleet.failed(began[0], Failure(kind=FailureKind.HOST_REFUSED, message="no"), NOW + HOUR)
    assert len(orders_of(fleet, NOW + HOUR, 16)) == 1


def test_a_ca_whose_windows_hang_holds_no_places_of_another() -> None:
    fleet = two_cas(9)
    for number in (*range(9), 99):
        asks = fleet.authority(OTHER_CA if number == 99 else CA).name
        fleet.found(lineage(number), replace(held(number), issuer=asks), NOW)
    asked = [task for task in fleet.tasks(NOW, 0) if isinstance(task, WindowTask)]
    assert Counter(task.issuer for task in asked) == {CA: 4, OTHER_CA: 1}
    assert not fleet.tasks(NOW, 0)
    assert fleet.wake_at(orders=False) is None  # the end of a question wakes us
    ended, gone, *_ = (task for task in asked if task.issuer == CA)
    fleet.window(ended.lineage, ended.cert_id, None, None, NOW)
    assert [task.issuer for task in fleet.tasks(NOW, 0) if isinstance(task, WindowTask)] == [CA]
    fleet.forget(gone.lineage)  # its answer comes all the same
    fleet.window(gone.lineage, gone.cert_id, None, None, NOW)
    assert len(fleet.tasks(NOW, 0)) == 1


@pytest.mark.parametrize("next_may", [True, False])
def test_a_ca_that_a_caa_record_forbids_is_not_the_last_one_asked(next_may: bool) -> None:
    """And comes first again the next time; where none may, it is tried again as after any failed validation."""
    fleet, now, asked = fleet_of(0), NOW, list[str]()
    fleet.update([Plan(lineage=lineage(0), issuers=(CA, OTHER_CA), challenges=("tls-alpn-01", "http-01"))], now)
    while now < NOW + HOUR:
        for task in orders_of(fleet, now):
            asked.append(task.issuer)
            if task.issuer == OTHER_CA and next_may:
                fleet.issued(task, replace(held(1), issuer=OTHER_CA), "http-01", now)
                if now < NOW + HOUR / 2:
                    fleet.wish(lineage(0), now, at=NOW + HOUR / 2)
            else:
                fleet.failed(task, replace(no_answer(task), problem="caa"), now)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    if next_may:
        assert asked == [CA, OTHER_CA] * 2
    else:
        assert asked == [CA, OTHER_CA, OTHER_CA, CA, OTHER_CA, CA, OTHER_CA]


def test_the_next_ca_of_a_host_has_slots_of_its_own_as_well() -> None:
    fleet = two_cas(0)
    both = [Plan(lineage=lineage(one), issuers=(CA, OTHER_CA), challenges=("http-01",)) for one in range(8)]
    fleet.update(both, NOW)
    under_way = {task.lineage: task for task in orders_of(fleet, NOW, 16)}
    most, done, now = Counter[str](), 0, NOW
    while under_way:
        task = under_way.pop(next(iter(under_way)))
        if task.issuer == CA:
            fleet.failed(task, Failure(kind=FailureKind.CA, message="down"), now)
        else:
            done += 1
            fleet.issued(task, replace(held(done), issuer=OTHER_CA), "http-01", now)
        under_way |= {task.lineage: task for task in orders_of(fleet, now, 16)}
        most |= Counter(task.issuer for task in under_way.values())
        now += timedelta(seconds=1)
    assert done == 9
    assert most == {CA: 4, OTHER_CA: 4}


def test_what_somebody_waits_for_is_ordered_before_the_rest_of_a_backlog() -> None:
    fleet = two_cas(30)
    began = [task for task in orders_of(fleet, NOW, 16) if task.issuer == CA]
    for task in began:
        fleet.failed(task, no_answer(task), NOW)
    mended, soon = began[0].lineage, NOW + timedelta(seconds=1)
    fleet.wish(mended, soon)
    fleet.wish(lineage(7), soon, at=soon)  # one of `renew --all`
    orders = orders_of(fleet, soon, 16)
    assert len(orders) == 4
    assert orders[0].lineage == mended
    assert lineage(7) not in {task.lineage for task in orders}
    fleet.issued(orders[0], held(1), "http-01", soon)
    fleet.wish(lineage(29), soon)
    for _ in plans(lineage(29))[0].challenges:  # the first attempt tries both
        (task,) = orders_of(fleet, soon, 16)
        assert task.lineage == lineage(29)
        fleet.failed(task, no_answer(task), soon)
    (task,) = orders_of(fleet, soon + timedelta(minutes=5), 16)
    assert task.lineage != lineage(29)  # its wish is over


def no_answer(task: OrderTask) -> Failure:
    return Failure(kind=FailureKind.VALIDATION, message="no", challenge=task.challenges[0])


def spent(ours: int, *, at: datetime = NOW) -> Fleet:
    """One host with a certificate, `ours` of which were issued lately."""
    fleet = fleet_of(2)
    for number in range(ours):
        order = CertificateOrder(host=lineage(0).host, names=lineage(0).names, key_kind="p256")
        fleet.authority(CA).succeeded(replace(order, replaces=str(number)), at)
    fleet.forget(lineage(1))
    return fleet


def test_a_wish_that_our_ceiling_refuses_leaves_a_certificate_that_serves_as_planned() -> None:
    fleet = spent(2)
    planned, told = due(fleet, 0), list[datetime]()
    fleet.postponed = lambda _lineage, _failure, until: told.append(until)
    for wished in (None, NOW + HOUR):  # `renew`, and one of `renew --all`
        at = wished or NOW
        fleet.wish(lineage(0), NOW, at=wished)
        assert due(fleet, 0) == at
        assert not orders_of(fleet, at)
        assert told.pop() == NOW + timedelta(days=1)
        state = fleet.state(lineage(0))
        assert isinstance(state, Ready)
        assert state.renew_at == planned
        assert state.refused is not None
        assert "enough certificates were ordered" in state.refused.message
        assert state.refused.retry_at == NOW + timedelta(days=1)
    assert not orders_of(fleet, NOW + timedelta(days=2))
    fleet.wish(lineage(0), NOW, forced=True)
    assert len(orders_of(fleet, NOW)) == 1


def test_what_is_due_and_refused_by_our_ceiling_is_ordered_when_it_opens() -> None:
    fleet = spent(0)
    planned = due(fleet, 0)
    assert planned is not None
    for _ in range(2):
        order = CertificateOrder(host=lineage(0).host, names=lineage(0).names, key_kind="p256")
        fleet.authority(CA).succeeded(order, planned)
    fleet.wish(lineage(0), planned)
    assert not orders_of(fleet, planned)
    assert due(fleet, 0) == planned + timedelta(days=1)
    assert len(orders_of(fleet, planned + timedelta(days=1))) == 1


def test_a_window_that_is_learned_meanwhile_moves_the_plan_and_keeps_the_wish() -> None:
    fleet = spent(2)
    window = RenewalWindow(cert_id="ari0", start=NOW + timedelta(days=70), end=NOW + timedelta(days=71))
    fleet.wish(lineage(0), NOW, at=NOW + HOUR)
    fleet.window(lineage(0), "ari0", window, None, NOW)
    assert due(fleet, 0) == NOW + HOUR
    assert not orders_of(fleet, NOW + HOUR)
    planned = due(fleet, 0)
    assert planned is not None
    assert planned > NOW + timedelta(days=25)


@pytest.mark.parametrize("kind", [FailureKind.VALIDATION, FailureKind.HOST_REFUSED, FailureKind.RATE_LIMITED])
def test_windows_are_asked_for_while_a_renewal_waits(kind: FailureKind) -> None:
    """A mass revocation is seen all the same, and a limit that does not hold in the window holds nothing up."""
    fleet = fleet_of(2)
    fleet.forget(lineage(1))
    fleet.wish(lineage(0), NOW)
    failure = Failure(kind=kind, message="no", problem="rateLimited", retry_at=NOW + timedelta(days=6))
    for task in fleet.tasks(NOW, 1, 1):
        assert isinstance(task, OrderTask)  # no window is asked for while an order runs
        fleet.failed(task, failure, NOW)
    now = NOW
    for hours in (0, 12):
        now = NOW + hours * HOUR
        (question,) = fleet.tasks(now, 0)
        assert isinstance(question, WindowTask)
        begin = NOW + timedelta(days=-1 if hours else 50)
        window = RenewalWindow(cert_id=question.cert_id, start=begin, end=begin + HOUR)
        fleet.window(lineage(0), question.cert_id, window, timedelta(days=3), now)
    at = due(fleet, 0)
    assert at is not None
    assert (at <= now) is (kind is FailureKind.RATE_LIMITED)


def test_a_limit_hides_no_failure_of_the_host() -> None:
    limits = replace(LETS_ENCRYPT, orders=replace(LETS_ENCRYPT.orders, count=2))
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    authority = fleet.authority(CA, limits)
    fleet.update(plans(lineage(0), challenges=("http-01",)), NOW)
    (task,) = orders_of(fleet, NOW)
    no = no_answer(task)
    fleet.failed(task, no, NOW)
    assert authority.ledger is not None
    authority.ledger.spend(task.order, NOW)
    soon = NOW + timedelta(minutes=2)
    fleet.wish(lineage(0), soon)
    assert not orders_of(fleet, soon)
    fleet.wish(lineage(0), soon)
    assert not orders_of(fleet, soon)
    state = fleet.state(lineage(0))
    assert isinstance(state, Waiting)
    assert state.failure.kind is FailureKind.RATE_LIMITED
    assert state.trouble is no
    read = fleet_of(1)
    read.restore(lineage(0), json.loads(json.dumps(fleet.document(lineage(0)))), soon)
    assert read.state(lineage(0)) == replace(state, failure=replace(state.failure, retry_at=None))
    (row,) = host_statuses(fleet.facts(), soon).values()
    assert (row.last_error, row.next_try, row.failures) == ("no", state.retry_at, 1)
    assert row.needs_a_person
    (why,) = [part.lines for part in explain(row.host, fleet.facts(), [], soon, profiles={}) if part.title == "Why"]
    assert len(why) == 2


def test_a_wish_that_our_ceiling_refuses_burns_no_allowance_of_the_next_ca() -> None:
    fleet, now = fleet_of(1), NOW
    fleet.update([Plan(lineage=lineage(0), issuers=(CA, OTHER_CA), challenges=("http-01",))], now)
    asked = []
    for number in range(6):
        now += timedelta(minutes=5)
        fleet.wish(lineage(0), now)
        for task in orders_of(fleet, now, 4):
            asked.append(task.issuer)
            fleet.issued(task, replace(held(number), issuer=task.issuer), "http-01", now)
    assert asked == [CA, CA]


def test_who_is_urgent_again_and_again_keeps_no_certificate_waiting_that_ends() -> None:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text, orders_per_ca=1)
    urgent, ending = [lineage(one) for one in range(5)], lineage(99)
    fleet.update(plans(*urgent, ending), NOW)
    for one in (*urgent, ending):
        fleet.found(one, held(7), NOW)
    last_tenth = held(7).validity.not_after - held(7).validity.lifetime / 10
    served, now = [], last_tenth - HOUR
    while now < last_tenth + HOUR:
        for one in urgent:
            fleet.wish(one, now)
        (task,) = orders_of(fleet, now, 4)
        served.append(task.lineage)
        fleet.failed(task, Failure(kind=FailureKind.VALIDATION, message="no"), now)
        now += timedelta(minutes=5)
    assert ending not in served[:12]
    assert ending in served[12:18]


@pytest.mark.parametrize("kind", [FailureKind.CA, FailureKind.ACCOUNT_REFUSED])
def test_a_ca_in_trouble_is_asked_by_one_order_also_after_a_stop_in_the_middle_of_many(kind: FailureKind) -> None:
    fleet, now, asked = fleet_of(0), NOW, list[datetime]()
    fleet.update(plans(*map(lineage, range(8))), now)
    for task in orders_of(fleet, now, 8):
        fleet.failed(task, Failure(kind=kind, message="no", cause="no"), now, unfinished=True)
    for number in range(8):
        fleet.interrupted(lineage(number), CA, now)
    while now < NOW + 3 * HOUR:
        for task in orders_of(fleet, now, 8):
            asked.append(now)
            assert task.resumed
            fleet.failed(task, Failure(kind=kind, message="no", cause="no"), now, unfinished=True)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    pause = HOUR if kind is FailureKind.ACCOUNT_REFUSED else timedelta(minutes=1)
    assert min(after - before for before, after in pairwise([NOW, *asked])) >= pause
    assert len(asked) >= 2


def test_who_waits_for_a_ca_in_trouble_goes_on_with_the_order_there_when_it_works() -> None:
    fleet = fleet_of(0)
    fleet.update(plans(*map(lineage, range(4))), NOW)
    for task in orders_of(fleet, NOW, 8):
        fleet.failed(task, Failure(kind=FailureKind.CA, message="no"), NOW, unfinished=True)
    now, probes = NOW, list[OrderTask]()
    while not probes:
        now += timedelta(seconds=30)
        probes = orders_of(fleet, now, 8)
    assert len(probes) == 1
    fleet.issued(probes[0], held(1), "http-01", now)
    rest = orders_of(fleet, now, 8)
    assert [task.resumed for task in rest] == [True] * 3


@pytest.mark.parametrize("serves", [True, False])
def test_a_host_taken_out_in_the_middle_of_an_order_wins_no_retry_by_coming_back(serves: bool) -> None:
    fleet = fleet_of(0)
    fleet.update(plans(lineage(0)), NOW)
    if serves:
        fleet.found(lineage(0), held(1), NOW)
        fleet.wish(lineage(0), NOW)
    (task,) = orders_of(fleet, NOW)
    fleet.failed(task, no_answer(task), NOW)
    (task,) = orders_of(fleet, NOW)
    fleet.forget(lineage(0))
    fleet.failed(task, no_answer(task), NOW)
    document = json.loads(json.dumps(fleet.document(lineage(0))))
    fleet.update(plans(lineage(0)), NOW)
    fleet.restore(lineage(0), document, NOW)
    if serves:
        fleet.found(lineage(0), held(1), NOW)
    assert not orders_of(fleet, NOW + timedelta(seconds=50))
    assert len(orders_of(fleet, NOW + timedelta(seconds=70))) == 1
    assert fleet.document(lineage(1)) == {}
