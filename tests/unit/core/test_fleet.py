import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from proxyd.core.certificate_state import due_at
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT
from proxyd.core.renewal import RenewalWindow, Validity
from proxyd.core.task import OrderTask, WindowTask

NOW = datetime(2027, 1, 1, tzinfo=UTC)
CA = "https://ca.example/dir"
YEARS, HOUR = timedelta(days=3650), timedelta(hours=1)


def lineage(number: int) -> Lineage:
    host = Hostname(f"host{number}.example.com")
    return Lineage(host=host, names=(host,), key_kind="p256")


def fleet_of(count: int) -> Fleet:
    """Every host has a certificate of our account; the last one has none."""
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fleet.authority(CA)
    fleet.update([Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)) for one in range(count)], NOW)
    for one in range(count - 1):
        validity = Validity(not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=89))
        held = Held(validity=validity, serial=one, cert_id=f"ari{one}", issuer=CA, is_owned=True)
        fleet.found(lineage(one), held, NOW)
    return fleet


def test_after_a_restart_the_windows_of_a_fleet_are_asked_for_a_few_at_a_time() -> None:
    fleet = fleet_of(21)
    asked: list[WindowTask] = []
    for _ in range(3):
        tasks = [task for task in fleet.tasks(NOW, 0, 8) if isinstance(task, WindowTask)]
        assert len(tasks) <= 8
        asked += tasks
    assert {task.lineage for task in asked} == {lineage(one) for one in range(20)}
    assert not fleet.tasks(NOW, 0, 8)


def test_windows_that_are_due_keep_no_order_waiting() -> None:
    fleet = fleet_of(21)
    (task,) = fleet.tasks(NOW, 4, 0)
    assert isinstance(task, OrderTask)
    assert task.lineage == lineage(20)
    assert fleet.wake_at(windows=False) is not None
    assert fleet.wake_at() == NOW


def test_an_answer_about_the_leaf_before_does_not_end_the_questions_about_the_new_one() -> None:
    fleet = fleet_of(2)
    (task,) = [task for task in fleet.tasks(NOW, 0) if isinstance(task, WindowTask)]
    validity = Validity(not_before=NOW, not_after=NOW + timedelta(days=90))
    new = Held(validity=validity, serial=77, cert_id="new", issuer=CA, is_owned=True)
    fleet.found(task.lineage, new, NOW)
    fleet.window(task.lineage, task.cert_id, None, None, NOW)
    (again,) = [task for task in fleet.tasks(NOW, 0) if isinstance(task, WindowTask)]
    assert again.cert_id == "new"


def order_of(fleet: Fleet, now: datetime) -> OrderTask:
    (task,) = [task for task in fleet.tasks(now, 4, 0) if isinstance(task, OrderTask)]
    return task


def test_a_backlog_at_a_limit_sends_every_order_that_is_allowed_and_does_little_else() -> None:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    fleet.authority(CA, LETS_ENCRYPT)
    fleet.update([Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)) for one in range(2000)], NOW)
    looks, told = Counter[datetime](), list[Lineage]()
    fleet.postponed = lambda one, _failure, _until: told.append(one)
    sent, now, end = 0, NOW, NOW + timedelta(hours=6)
    while now < end:
        told.clear()
        tasks = [task for task in fleet.tasks(now, 4) if isinstance(task, OrderTask)]
        looks[now] += len(told)
        for task in tasks:
            fleet.failed(task, Failure(kind=FailureKind.HOST_REFUSED, message="no"), now)
        sent += len(tasks)
        now = max(now + timedelta(milliseconds=10), fleet.wake_at() or end)
    assert 300 + 100 * 6 - 5 <= sent <= 300 + 100 * 6 + 1
    assert max(looks.values()) <= 200
    assert sum(looks.values()) < 20_000  # a million, were everybody to come for every order that is allowed


def test_who_waits_for_a_ca_goes_on_when_it_answers_anybody() -> None:
    fleet = fleet_of(1)
    fleet.update([Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)) for one in range(1, 8)], NOW)
    tasks = [task for task in fleet.tasks(NOW, 4, 0) if isinstance(task, OrderTask)]
    for task in tasks:
        fleet.failed(task, Failure(kind=FailureKind.CA, message="down"), NOW)
    now, probes = NOW, list[OrderTask]()
    while not probes:
        now += timedelta(seconds=30)
        probes = [task for task in fleet.tasks(now, 4, 0) if isinstance(task, OrderTask)]
    assert len(probes) == 1
    fleet.failed(probes[0], Failure(kind=FailureKind.VALIDATION, message="not there", challenge="http-01"), now)
    assert len(fleet.tasks(now, 8, 0)) == 7


def test_no_restart_forgets_what_failed_long_before_the_renewal_had_to_be() -> None:
    fleet = fleet_of(2)
    first = lineage(0)
    fleet.wish(first, NOW, at=NOW)
    task = next(task for task in fleet.tasks(NOW, 4) if isinstance(task, OrderTask) and task.lineage == first)
    no = Failure(kind=FailureKind.VALIDATION, message="no", challenge="http-01")
    fleet.failed(task, no, NOW)
    held, waits_until = fleet.held(first), due(fleet, 0)
    assert held is not None
    for _ in range(3):
        document = json.loads(json.dumps(fleet.document(first)))
        fleet = fleet_of(0)
        fleet.add(task_plan(first), NOW)
        fleet.restore(first, document, NOW)
        fleet.found(first, held, NOW)
        assert due(fleet, 0) == waits_until
    fleet.found(first, replace(held, serial=4711), NOW)  # another process had more luck
    assert due(fleet, 0) != waits_until


def task_plan(one: Lineage) -> Plan:
    return Plan(lineage=one, issuers=(CA,), challenges=("http-01",))


def test_a_dormant_host_gets_one_order_though_it_never_tried_the_other_challenge() -> None:
    fleet = fleet_of(0)
    fleet.update([Plan(lineage=lineage(0), issuers=(CA,), challenges=("tls-alpn-01", "http-01"))], NOW)
    fleet.postpone(lineage(0), Failure(kind=FailureKind.VALIDATION, message="what its twin saw"), NOW, NOW)
    fleet.left(lineage(0), NOW)
    later = NOW + timedelta(days=7)
    task = order_of(fleet, later)
    no = Failure(kind=FailureKind.VALIDATION, message="no", challenge=task.challenges[0])
    fleet.failed(task, no, later)
    assert due(fleet, 0) == later + timedelta(days=7)


def due(fleet: Fleet, number: int) -> datetime | None:
    state = fleet.state(lineage(number))
    return due_at(state, NOW) if state else None


def test_an_order_whose_replaces_is_refused_is_sent_once_more_within_the_limits_and_is_no_failure_of_the_ca() -> None:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    authority = fleet.authority(CA, LETS_ENCRYPT)
    authority.has_ari = True
    fleet.update([Plan(lineage=lineage(one), issuers=(CA,), challenges=("http-01",)) for one in range(9)], NOW)
    for one in range(9):
        validity = Validity(not_before=NOW - timedelta(days=89), not_after=NOW + timedelta(days=1))
        held = Held(validity=validity, serial=one, cert_id=f"ari{one}", issuer=CA, is_owned=True, account="old")
        fleet.found(lineage(one), held, NOW)
    tasks = [task for task in fleet.tasks(NOW, 9) if isinstance(task, OrderTask)]
    assert {(task.order.replaces, task.order.account) for task in tasks} == {(f"ari{one}", "old") for one in range(9)}
    sent = [again for task in tasks if (again := fleet.replaces_refused(task, NOW))]
    assert [(one.order.replaces, one.order.account, one.lineage) for one in sent] == [
        (None, None, task.lineage) for task in tasks
    ]
    again = sent[-1]
    fleet.failed(again, Failure(kind=FailureKind.VALIDATION, message="no", challenge="http-01"), NOW)
    assert fleet.document(again.lineage)["refused_replaces"] == tasks[-1].order.replaces
    assert fleet.refusal(lineage(0), NOW) is None  # the CA is not down
    assert authority.ledger is not None
    for _ in range(4):
        authority.ledger.spend(again.order, NOW)
    told: list[Lineage] = []
    fleet.postponed = lambda lineage, _failure, _until: told.append(lineage)
    authority.ledger.spend(again.order, NOW)
    assert fleet.replaces_refused(replace(tasks[-1], order=replace(again.order, replaces="ari")), NOW) is None
    assert told == [again.lineage]


def twins() -> tuple[Lineage, Lineage]:
    host = Hostname("twin.example.com")
    return Lineage(host=host, names=(host,), key_kind="p256"), Lineage(host=host, names=(host,), key_kind="rsa2048")


def plans(*lineages: Lineage, challenges: tuple[str, ...] = ("tls-alpn-01", "http-01")) -> list[Plan]:
    return [Plan(lineage=one, issuers=(CA,), challenges=challenges) for one in lineages]


def orders_of(fleet: Fleet, now: datetime, room: int = 4) -> list[OrderTask]:
    return [task for task in fleet.tasks(now, room, 0) if isinstance(task, OrderTask)]


def held(number: int, issued: datetime = NOW) -> Held:
    validity = Validity(not_before=issued, not_after=issued + timedelta(days=90))
    return Held(validity=validity, serial=number, cert_id=f"ari{number}", issuer=CA, is_owned=True)


def test_two_orders_never_prove_a_name_at_the_same_time() -> None:
    fleet = fleet_of(1)
    fleet.update(plans(*twins()), NOW)
    began = orders_of(fleet, NOW)
    assert len([task for task in began if task.lineage in twins()]) == 1
    (first,) = [task for task in began if task.lineage in twins()]
    assert not orders_of(fleet, NOW + timedelta(minutes=5))
    fleet.issued(first, held(1), "tls-alpn-01", NOW)
    (second,) = orders_of(fleet, NOW)
    assert {first.lineage, second.lineage} == {*twins()}
    assert (first.order.is_renewal, second.order.is_renewal) == (False, True)  # the CA counts names, not keys


@pytest.mark.parametrize("number", [0, 1])
def test_a_host_that_comes_back_while_its_order_runs_waits_for_its_end(number: int) -> None:
    fleet = fleet_of(0)
    fleet.update(plans(twins()[0]), NOW)
    (task,) = orders_of(fleet, NOW)
    fleet.forget(task.lineage)
    fleet.update(plans(twins()[number]), NOW)
    assert not orders_of(fleet, NOW)
    fleet.not_sent(task, Failure(kind=FailureKind.LOCAL, message="gone"), NOW, NOW)
    assert len(orders_of(fleet, NOW)) == 1


def test_an_order_that_a_limit_ends_in_the_middle_keeps_no_other_of_the_name_waiting() -> None:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text)
    authority = fleet.authority(CA, LETS_ENCRYPT)
    authority.has_ari = True
    first, second = twins()
    fleet.update(plans(first), NOW)
    fleet.found(first, held(1, NOW - timedelta(days=89)), NOW)
    (task,) = orders_of(fleet, NOW)
    assert authority.ledger is not None
    for _ in range(6):
        authority.ledger.spend(replace(task.order, replaces=None), NOW)
    fleet.update(plans(second), NOW)
    assert not orders_of(fleet, NOW)
    assert fleet.replaces_refused(task, NOW) is None
    fleet.forget(first)
    (task,) = orders_of(fleet, NOW + timedelta(days=14))
    assert task.lineage == second


def test_two_key_kinds_of_a_host_fail_less_than_five_times_in_the_first_hour() -> None:
    fleet = fleet_of(0)
    fleet.update(plans(*twins()), NOW)
    now, failed = NOW, 0
    while now < NOW + timedelta(hours=1):
        for task in orders_of(fleet, now):
            failed += 1
            no = Failure(kind=FailureKind.VALIDATION, message="no", challenge=task.challenges[0])
            fleet.failed(task, no, now)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    assert 2 <= failed < 5
    fleet.wish(twins()[1], now)
    fleet.wish(twins()[0], now)
    (task,) = orders_of(fleet, now)
    fleet.issued(task, held(1), "http-01", now)
    assert len(orders_of(fleet, now)) == 1  # what worked for one is tried for the other at once


def test_a_limit_of_a_ca_that_we_know_nothing_of_is_not_hammered() -> None:
    fleet = fleet_of(0)
    fleet.update(plans(*map(lineage, range(30))), NOW)
    now, sent = NOW, 0
    no = Failure(kind=FailureKind.RATE_LIMITED, message="too many", problem="rateLimited")
    while now < NOW + timedelta(days=1):
        for task in orders_of(fleet, now):
            sent += 1
            fleet.failed(task, no, now)
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    assert sent <= 24 * 6 + 10


def test_a_limit_of_a_domain_is_learned_once_for_all_its_hosts() -> None:
    fleet = Fleet(rng=Random(0), registered_domain=lambda name: name.text.partition(".")[2])
    fleet.authority(CA, LETS_ENCRYPT)
    fleet.update(plans(*map(lineage, range(30))), NOW)
    now, sent = NOW, 0
    until = NOW + timedelta(hours=20)
    while now < until:
        for task in orders_of(fleet, now):
            sent += 1
            fleet.failed(
                task,
                Failure(
                    kind=FailureKind.RATE_LIMITED,
                    message="too many",
                    problem="rateLimited",
                    limit="domain",
                    retry_at=until,
                ),
                now,
            )
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now)
    assert sent <= 4


def test_another_contact_wins_no_retry_another_challenge_does() -> None:
    fleet = fleet_of(0)
    (plan,) = plans(lineage(0), challenges=("http-01",))
    fleet.update([plan], NOW)
    (task,) = orders_of(fleet, NOW)
    fleet.failed(task, Failure(kind=FailureKind.VALIDATION, message="no", challenge="http-01"), NOW)
    fleet.update([replace(plan, fingerprint="another contact")], NOW)
    assert not orders_of(fleet, NOW)
    fleet.update([replace(plan, challenges=("tls-alpn-01",))], NOW)
    assert len(orders_of(fleet, NOW)) == 1


def test_only_a_renewal_inside_the_window_is_free_of_all_limits() -> None:
    fleet = fleet_of(0)
    fleet.authority(CA).has_ari = True
    fleet.update(plans(lineage(0)), NOW)
    (task,) = orders_of(fleet, NOW)
    fleet.issued(task, held(0), "http-01", NOW)
    start, end = NOW + timedelta(days=59), NOW + timedelta(days=61)
    window = RenewalWindow(cert_id="ari0", start=start, end=end)
    fleet.window(lineage(0), "ari0", window, None, NOW)
    for at, exempt in ((start - HOUR, False), (start + HOUR, True), (end + HOUR, False)):
        fleet.wish(lineage(0), at, at=at)
        (task,) = orders_of(fleet, at)
        assert task.order.replaces == "ari0"
        assert task.order.is_exempt is exempt
        fleet.not_sent(task, Failure(kind=FailureKind.LOCAL, message="not now"), at, at)


def in_vain(*, has_ari: bool, restarts: bool, days: int) -> list[datetime]:
    """Return when certificates are ordered that must not serve, from the last tenth of a life on."""
    plan = Plan(lineage=lineage(0), issuers=(CA,), challenges=("http-01",))
    validity = Validity(not_before=NOW - timedelta(days=90), not_after=NOW + timedelta(days=1))
    held = Held(validity=validity, serial=1, cert_id="a.b", issuer=CA, is_owned=True)
    authority: dict[str, object] = {}
    document: dict[str, object] = {}
    now, ordered = NOW, list[datetime]()

    def start() -> Fleet:
        fleet = Fleet(rng=Random(len(ordered)), registered_domain=lambda name: name.text)
        fleet.authority(CA).has_ari = has_ari
        fleet.authority(CA).read_document(authority, now)
        fleet.update([plan], now)
        fleet.restore(plan.lineage, document, now)
        fleet.found(plan.lineage, held, now)
        return fleet

    fleet = start()
    while now < NOW + timedelta(days=days):
        for task in fleet.tasks(now, 1, 0):
            assert isinstance(task, OrderTask)
            ordered.append(now)
            fleet.issued_in_vain(task, Failure(kind=FailureKind.UNUSABLE, message="taken back"), now)
        authority = json.loads(json.dumps(fleet.authority(CA).to_document(now)))
        document = json.loads(json.dumps(fleet.document(plan.lineage)))
        now = max(now + timedelta(seconds=1), fleet.wake_at(windows=False) or now + timedelta(hours=1))
        fleet = start() if restarts else fleet
        fleet.wish(plan.lineage, now)  # a mended name, a changed file
    return ordered


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(("has_ari", "at_once"), [(True, 6), (False, 2)])
def test_certificates_in_vain_keep_a_ceiling_of_a_day_to_the_end(has_ari: bool, at_once: int, restarts: bool) -> None:
    """In the last tenth of a life nobody waits for a week to be over, and nothing goes past two a day.

    The next may be no better than the last one; a CA that takes them as renewals gives a week's at once, and then two.
    """
    ordered = in_vain(has_ari=has_ari, restarts=restarts, days=7)
    for day in range(7):
        begin = NOW + timedelta(days=day)
        today = [at for at in ordered if begin <= at < begin + timedelta(days=1)]
        assert len(today) <= (2 if day else at_once)
    assert 4 < len(ordered) <= at_once + 2 * 6


def test_certificates_in_vain_are_tried_again_as_failed_validations_are() -> None:
    fleet, now, waits = fleet_of(1), NOW, list[float]()
    fleet.authority(CA).has_ari = True
    validity = Validity(not_before=NOW - timedelta(days=60), not_after=NOW + timedelta(days=30))
    held = Held(validity=validity, serial=1, cert_id="a.b", issuer=CA, is_owned=True)
    fleet.update([Plan(lineage=lineage(0), issuers=(CA,), challenges=("http-01",))], now)
    fleet.found(lineage(0), held, now)
    for _ in range(5):
        fleet.issued_in_vain(order_of(fleet, now), Failure(kind=FailureKind.UNUSABLE, message="taken back"), now)
        due = fleet.wake_at(windows=False)
        assert due is not None
        waits.append((due - now) / timedelta(minutes=1))
        now = due
    assert [round(wait, -len(str(int(wait))) + 1) for wait in waits[:3]] == [1, 10, 100]
    assert all(0.9 <= wait / 1440 <= 1.1 for wait in waits[3:])


def test_a_refusal_of_an_account_that_was_changed_meanwhile_blocks_nobody() -> None:
    """A reload changes the account before the plans: an order from before may end in between."""
    fleet = fleet_of(1)
    fleet.authority(CA).ask_as("wrong key")
    task = order_of(fleet, NOW)
    fleet.authority(CA).ask_as("right key")
    fleet.failed(task, Failure(kind=FailureKind.ACCOUNT_REFUSED, message="wrong key"), NOW)
    assert order_of(fleet, NOW).lineage == lineage(0)
