"""How often a certificate was renewed: counted once a day, and known after a restart."""

from datetime import timedelta
from pathlib import Path

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.issuance.memory import Memory, held_of
from proxyd.store.journal import Journal
from tests.support.certs import make_pem
from tests.support.clock import FakeClock

A, B = Hostname("a.example"), Hostname("b.example")
SHARED = Lineage(A, (A, B), "p256")


def made() -> Certificate:
    return Certificate.parse(make_pem("a.example", "b.example"))


def memory(path: Path, clock: FakeClock) -> Memory:
    one = Memory(Journal(path, clock=clock), clock=clock)
    one.open()
    return one


def test_renewals_are_counted(tmp_path: Path) -> None:
    clock = FakeClock()
    one = memory(tmp_path / "j", clock)
    heard: list[Hostname] = []
    one.renewals.changed = heard.append
    first, second = made(), made()
    held = held_of(first, issuer="ca", is_owned=True)
    one.renewals.served(SHARED, first, None)
    one.renewals.served(SHARED, first, held)
    assert (one.renewals.of(A), heard) == (0, [])
    one.renewals.served(SHARED, second, held)
    assert (one.renewals.of(A), one.renewals.of(B), heard) == (1, 1, [A, B])
    clock.advance(timedelta(hours=23))
    one.renewals.served(SHARED, made(), held)  # by hand
    assert one.renewals.of(A) == 1
    clock.advance(timedelta(hours=2))
    one.renewals.served(SHARED, made(), held)
    assert one.renewals.counts() == {A: 2, B: 2}
    one.close()
    again = memory(tmp_path / "j", clock)
    assert again.renewals.counts() == {A: 2, B: 2}
    clock.advance(timedelta(days=2))
    again.renewals.served(SHARED, made(), held)
    assert again.renewals.of(B) == 3
    again.close()


def test_what_is_broken_counts_for_nothing(tmp_path: Path) -> None:
    one = memory(tmp_path / "j", FakeClock())
    one.renewals.recall(
        {"renewed a.example p256": {"renewals": "3", "names": ["a.example", "?"], "at": 5}, "renewed": {}}
    )
    assert one.renewals.of(A) == 0
    one.close()
