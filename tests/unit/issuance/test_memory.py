import json
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.core.authority import Authority
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.certificate_state import Waiting
from proxyd.core.circuit_breaker import ceiling
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage, Plan
from proxyd.core.rate_ledger import LETS_ENCRYPT
from proxyd.core.task import OrderTask
from proxyd.core.token_bucket import Limit
from proxyd.issuance.memory import Memory
from proxyd.store.journal import Journal
from tests.support.clock import FakeClock

CLOCK = FakeClock()


def memory(path: Path, *, is_first: bool = False) -> Memory:
    one = Memory(Journal(path, clock=CLOCK), clock=CLOCK)
    one.open(is_first=is_first)
    return one


def order(text: str) -> CertificateOrder:
    name = Hostname(text)
    return CertificateOrder(host=name, names=(name,), key_kind="ec256")


def orders_left(one: Memory, name: str = "ca") -> int:
    authority = Authority(name, LETS_ENCRYPT, registered_domain=str)
    one.recall_authority(authority, CLOCK.now())
    assert authority.ledger is not None
    return authority.ledger.available(CLOCK.now())["orders_left"]


def test_a_lost_history_stays_half_a_budget_at_the_next_start(tmp_path: Path) -> None:
    for _ in range(3):  # nothing is ordered meanwhile
        one = memory(tmp_path / "j")
        assert orders_left(one) == 150
        one.close()
    one = memory(tmp_path / "j")
    assert orders_left(one, "a CA that is new in the configuration") == 300
    one.close()


def test_where_nothing_was_ever_issued_the_budget_is_full(tmp_path: Path) -> None:
    for is_first in (True, True, False):  # the third finds certificates
        one = memory(tmp_path / "j", is_first=is_first)
        assert orders_left(one) == 300
        one.close()


def test_a_broken_journal_is_no_beginning(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"garbage" * 1000)
    one = memory(tmp_path / "j", is_first=True)
    assert orders_left(one) == 150
    one.close()


def test_a_journal_lost_while_it_ran_gives_no_ca_its_full_budget(tmp_path: Path) -> None:
    """Of two CAs one is written again afterwards: of the other nothing is known at the next start."""
    authority = Authority("first", LETS_ENCRYPT, registered_domain=str)
    one = memory(tmp_path / "j", is_first=True)
    one.recall_authority(authority, CLOCK.now())
    assert orders_left(one, "second") == 300
    one.flush()
    for part in tmp_path.glob("j*"):
        part.unlink()
    authority.started(order("a.example"), CLOCK.now())
    one.keep_authority(authority, CLOCK.now())
    one.close()
    for _ in range(2):
        one = memory(tmp_path / "j")
        assert orders_left(one, "first") == 299
        assert orders_left(one, "second") == 150
        one.close()


def test_an_unknown_history_is_that_of_every_ca(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", clock=CLOCK)
    journal.open()
    journal.put_state("lineage a.example ec", {"x": 1})
    journal.close()
    one = memory(tmp_path / "j")
    assert [orders_left(one, name) for name in ("first", "second")] == [150, 150]
    one.close()


def test_what_is_kept_of_hosts_alone_is_no_history_of_orders(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", clock=CLOCK)  # of which the rest was lost while it ran
    journal.open()
    journal.put_state("lineage a.example ec", {"x": 1})
    journal.close()
    one = memory(tmp_path / "j")
    assert orders_left(one) == 150
    one.close()


def test_what_was_spent_since_the_start_is_recalled_by_a_reload(tmp_path: Path) -> None:
    one = memory(tmp_path / "j")
    authority = Authority("ca", LETS_ENCRYPT, registered_domain=str)
    one.recall_authority(authority, CLOCK.now())
    for number in range(100):
        authority.started(order(f"{number}.example"), CLOCK.now())
    one.keep_authority(authority, CLOCK.now())
    one.recall_authority(authority, CLOCK.now())
    assert authority.ledger is not None
    assert authority.ledger.available(CLOCK.now())["orders_left"] == 50
    one.close()


def test_what_was_spent_stays_spent_over_a_restart_with_other_limits(tmp_path: Path) -> None:
    one = memory(tmp_path / "j", is_first=True)
    authority = Authority("ca", LETS_ENCRYPT, registered_domain=str)
    one.recall_authority(authority, CLOCK.now())
    for number in range(100):
        authority.started(order(f"{number}.example"), CLOCK.now())
    one.keep_authority(authority, CLOCK.now())
    one.close()
    for _ in range(3):
        one = memory(tmp_path / "j")
        read = Authority("ca", replace(LETS_ENCRYPT, orders=Limit(300, DAY)), registered_domain=str)
        one.recall_authority(read, CLOCK.now())
        assert read.ledger is not None
        assert read.ledger.available(CLOCK.now())["orders_left"] == 200
        one.keep_authority(read, CLOCK.now())
        one.close()


#: What one flipped bit, or more, makes of what was kept.
ROT = {
    "what was spent": "document = CAST(x'7bff7d' AS TEXT) WHERE name = 'ca ca ledger orders account'",
    "its name": "name = CAST(x'ff' AS TEXT) WHERE name = 'ca ca ledger orders account'",
    "its time": "document = '{\"at\": \"2O26\"}' WHERE name = 'ca ca ledger orders account'",
    "how the CA stands": "document = CAST(x'7bff7d' AS TEXT) WHERE name = 'ca ca'",
    "a host": "document = CAST(x'7bff7d' AS TEXT) WHERE name = 'held a.example ec'",
}


@pytest.mark.parametrize("rot", ROT)
def test_one_document_that_cannot_be_read_costs_no_schedule_and_gives_nothing_back(tmp_path: Path, rot: str) -> None:
    one = memory(tmp_path / "j", is_first=True)
    authority = Authority("ca", LETS_ENCRYPT, registered_domain=str)
    one.recall_authority(authority, CLOCK.now())
    for number in range(200):
        authority.started(order(f"{number}.example"), CLOCK.now())
    one.keep_authority(authority, CLOCK.now())
    one.keep_document("held a.example ec", {"serial": "1"})
    one.keep_document("lineage a.example ec", {"x": 1})
    one.close()
    with closing(sqlite3.connect(tmp_path / "j")) as connection:
        connection.executescript(f"UPDATE state SET {ROT[rot]}")
    left = 150 if "orders" in ROT[rot] else 100
    for _ in range(3):  # and it is not counted twice
        one = memory(tmp_path / "j")
        assert one.document("lineage a.example ec") == {"x": 1}
        assert orders_left(one) == left
        one.close()
    journal = Journal(tmp_path / "j", clock=CLOCK)
    assert journal.states()
    assert journal.history_known


def kept(path: Path) -> dict[str, dict[str, object]]:
    journal = Journal(path, clock=CLOCK)
    journal.open()
    journal.close()
    return {name: dict(document) for name, document in journal.states().items()}


def test_an_order_writes_what_it_changed_and_nothing_that_is_over_stays(tmp_path: Path) -> None:
    clock = FakeClock(CLOCK.now())
    one = Memory(Journal(tmp_path / "j", clock=clock), clock=clock)
    one.open(is_first=True)
    authority = Authority("ca", LETS_ENCRYPT, registered_domain=str)
    one.recall_authority(authority, clock.now())
    for name in ("a.example", "b.example"):
        authority.started(order(name), clock.now())
        authority.succeeded(order(name), clock.now())
        one.keep_authority(authority, clock.now())
    assert all(values == {} for part, values in authority.changes(clock.now()).items() if part != "standing")
    one.close()
    names = set(kept(tmp_path / "j"))
    assert {
        "ca ca",
        "ca ca ledger orders account",
        "ca ca ledger domain a.example",
        "ca ca issued ec256 a.example",
    } < names
    whole = authority.to_document(clock.now())
    again = Memory(Journal(tmp_path / "j", clock=clock), clock=clock)
    again.open()
    read = Authority("ca", LETS_ENCRYPT, registered_domain=str)
    again.recall_authority(read, clock.now())
    assert read.to_document(clock.now()) == whole
    clock.advance(timedelta(days=30))
    read.started(order("c.example"), clock.now())
    again.keep_authority(read, clock.now())
    again.close()
    names = set(kept(tmp_path / "j"))
    assert not [name for name in names if "a.example" in name or "b.example" in name]
    assert "ca ca ledger domain c.example" in names


def test_what_an_earlier_version_kept_in_one_document_is_taken_over(tmp_path: Path) -> None:
    authority = Authority("ca", LETS_ENCRYPT, registered_domain=str)
    authority.started(order("a.example"), CLOCK.now())
    authority.succeeded(order("a.example"), CLOCK.now())
    whole = authority.to_document(CLOCK.now())
    journal = Journal(tmp_path / "j", clock=CLOCK)
    journal.open()
    journal.put_state("ca ca", json.loads(json.dumps(whole)))
    journal.close()
    for _ in range(2):
        one = memory(tmp_path / "j")
        read = Authority("ca", LETS_ENCRYPT, registered_domain=str)
        one.recall_authority(read, CLOCK.now())
        assert read.to_document(CLOCK.now()) == whole
        one.keep_authority(read, CLOCK.now())
        one.close()


DAY = timedelta(days=1)
OFF = [-3650 * DAY, -30 * DAY, -2 * DAY, timedelta(hours=5), 8 * DAY, 3650 * DAY]


class Life:
    """A start of the daemon: what it knows of its CA."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self._clock = clock
        self.sure = False
        self.memory = Memory(Journal(path, clock=clock), clock=clock)
        self.memory.is_time_sure = lambda: self.sure
        self.memory.open()
        self.fleet = Fleet(rng=random.Random(1), registered_domain=str)
        self.ca = self.fleet.authority("ca", LETS_ENCRYPT)
        self.memory.recall_authority(self.ca, clock.now())

    def righted(self) -> None:
        self.memory.clock_righted(self.fleet, self._clock.now())

    def orders_left(self) -> int:
        assert self.ca.ledger is not None
        return self.ca.ledger.available(self._clock.now())["orders_left"]

    def assert_spent(self) -> None:
        now, one = self._clock.now(), order("x.example.com")
        assert self.orders_left() <= 45
        assert self.ca.refusal(one, now) is not None
        assert ceiling(one, self.ca.history(one), now=now) is not None


def test_who_does_not_order_keeps_nothing_when_the_clock_is_righted(tmp_path: Path) -> None:
    clock = FakeClock()
    memory(tmp_path / "j", is_first=True).close()
    standby, life = Life(tmp_path / "j", clock), Life(tmp_path / "j", clock)
    standby.memory.flush()
    life.sure = standby.sure = True
    for _ in range(5):
        life.ca.started(order("x.example.com"), clock.now())
        life.ca.succeeded(order("x.example.com"), clock.now())
    life.memory.keep_authority(life.ca, clock.now())
    life.memory.flush()
    before = kept(tmp_path / "j")
    standby.memory.clock_righted(standby.fleet, clock.now(), orders=False)
    standby.memory.close()
    assert kept(tmp_path / "j") == before
    life.memory.close()


@pytest.mark.parametrize("orders", [False, True])
@pytest.mark.parametrize("off", OFF)
def test_a_start_with_a_wrong_clock_forgets_nothing_that_was_spent(
    tmp_path: Path, off: timedelta, orders: bool
) -> None:
    clock = FakeClock()
    memory(tmp_path / "j", is_first=True).close()
    life = Life(tmp_path / "j", clock)
    life.sure = True
    life.ca.ledger = Authority("ca", LETS_ENCRYPT, registered_domain=str).ledger
    for number in range(250):
        life.ca.started(order(f"h{number}.example.com"), clock.now())
    for _ in range(5):
        life.ca.started(order("x.example.com"), clock.now())
        life.ca.succeeded(order("x.example.com"), clock.now())
    life.memory.keep_authority(life.ca, clock.now())
    life.memory.close()
    clock.jump(off)
    for _ in range(2):
        life = Life(tmp_path / "j", clock)
        if orders:  # nobody doubts the clock before the CA answers
            life.ca.started(order("x.example.com"), clock.now())
            life.memory.keep_authority(life.ca, clock.now())
            life.ca.succeeded(order("x.example.com"), clock.now())
        life.memory.keep_authority(life.ca, clock.now())
        life.memory.close()
    life = Life(tmp_path / "j", clock)
    clock.jump(-off)
    life.righted()
    life.assert_spent()
    life.sure = True
    life.memory.keep_authority(life.ca, clock.now())
    life.assert_spent()
    life.memory.close()
    life = Life(tmp_path / "j", clock)
    life.assert_spent()
    clock.advance(30 * DAY)
    life.sure = True
    life.memory.keep_authority(life.ca, clock.now())
    assert life.orders_left() == 300
    life.memory.close()
    assert not [name for name in kept(tmp_path / "j") if name.startswith("ca ca ")]


def test_a_lost_history_stays_half_a_budget_when_the_clock_was_wrong(tmp_path: Path) -> None:
    clock = FakeClock()
    clock.jump(-3650 * DAY)
    life = Life(tmp_path / "j", clock)
    clock.jump(3650 * DAY)
    life.righted()
    assert life.orders_left() == 150
    life.memory.close()


def test_what_was_issued_for_a_name_that_is_forgotten_goes_after_its_week(tmp_path: Path) -> None:
    clock = FakeClock()
    life = Life(tmp_path / "j", clock)
    life.sure = True
    for number in range(200):
        life.ca.succeeded(order(f"n{number}.example.com"), clock.now())
        life.memory.keep_authority(life.ca, clock.now())
    clock.advance(6 * DAY)
    life.memory.keep_authority(life.ca, clock.now())
    assert len(life.ca.history(order("n7.example.com"))) == 1
    clock.advance(DAY)
    life.memory.keep_authority(life.ca, clock.now())
    assert not life.ca.history(order("n7.example.com"))
    life.memory.close()
    assert not [name for name in kept(tmp_path / "j") if "example.com" in name]


def test_the_schedules_of_names_that_were_given_up_are_few_and_no_longer_managed(tmp_path: Path) -> None:
    one = memory(tmp_path / "j")
    fleet = Fleet(rng=random.Random(1), registered_domain=str)
    lineages = []
    for number in range(1200):
        host = Hostname(f"n{number}.example.com")
        plan = Plan(lineage=Lineage(host=host, names=(host,), key_kind="p256"), issuers=("ca",), challenges=("x",))
        fleet.add(plan, CLOCK.now())
        (task,) = fleet.tasks(CLOCK.now(), 1, 0)
        assert isinstance(task, OrderTask)
        lineages.append(plan.lineage)
        if number:
            fleet.failed(task, Failure(kind=FailureKind.VALIDATION, message="no"), CLOCK.now())
        one.keep_lineage(fleet, plan.lineage)
        fleet.forget(plan.lineage)
        one.give_up(plan.lineage)
        CLOCK.advance(timedelta(seconds=1))
    for _ in range(2):
        assert [one.has_given_up(lineage.host) for lineage in lineages] == [False] * 200 + [True] * 1000
        assert one.names() == set()
        one.close()
        one = memory(tmp_path / "j")
    fleet.add(Plan(lineage=lineages[-1], issuers=("ca",), challenges=("x",)), CLOCK.now())
    one.recall(fleet, lineages[-1], CLOCK.now())
    state = fleet.state(lineages[-1])
    assert isinstance(state, Waiting)
    assert state.failures == 1
    one.keep_lineage(fleet, lineages[-1])
    assert not one.has_given_up(lineages[-1].host)
    assert one.names() == {lineages[-1].host}
    one.close()


def test_orders_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    one, host = memory(tmp_path / "j"), Hostname("a.example.com")
    for kind, fields in (
        ("order started", {}),
        ("certificate issued", {}),
        ("due at once", {"kind": "unusable"}),
        ("order failed", {"kind": FailureKind.RATE_LIMITED.value}),
        ("order failed", {"kind": FailureKind.CA.value}),
    ):
        one.note(kind, host, "ca", **fields)
    one.note("postponed", host, None, kind="ca")
    assert one.orders == {("ca", "issued"): 1, ("ca", "rate_limited"): 1, ("ca", "ca"): 1}
    one.close()
