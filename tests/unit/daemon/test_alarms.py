"""What needs a person although everything serves, with the real store, journal and disk limits."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.certificate_state import Missing
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage, Plan
from proxyd.core.status import Facts
from proxyd.daemon.alarms import Alarms
from proxyd.daemon.installation import Installation
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.commit import Commit
from proxyd.issuance.memory import Memory, held_of
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from proxyd.store.journal import Journal
from proxyd.store.pending_orders import PendingOrders
from proxyd.store.store import StoreError
from proxyd.tls.certificate_table import CertificateTable
from tests.support.certs import make_pem
from tests.support.limits import nothing_can_be_written

HOST = Hostname("example.com")
LINEAGE = Lineage(host=HOST, names=(HOST,), key_kind="p256")


class World:
    def __init__(self, root: Path, *, cache: Path | None = None) -> None:
        clock = SystemClock()
        self.store = store = CertificateStore(DirectoryStore(cache or root, clock=clock), clock=clock)
        self.memory = Memory(Journal(root / "journal.sqlite3", clock=clock), clock=clock)
        self.memory.open()
        installation = Installation(
            table=CertificateTable(),
            memory=self.memory,
            listening_at=lambda: None,
            installed=lambda: None,
            is_alone=lambda _: True,
            clock=clock,
        )
        self.orders = PendingOrders(store.store)
        self.commit = Commit(
            store=store,
            orders=self.orders,
            memory=self.memory,
            keeper=installation,
            issuer_of=lambda _lineage, _name: None,
        )
        self.alarms = Alarms(
            store=store.store,
            orders=self.orders,
            memory=self.memory,
            commit=self.commit,
            installation=installation,
        )

    def cache(self) -> str:
        return self.alarms.cache.reason if self.alarms.cache else ""

    def told(self) -> list[str]:
        plan = Plan(lineage=LINEAGE, issuers=("x",), challenges=("http-01",))
        other = Plan(lineage=Lineage(host=HOST, names=(HOST,), key_kind="rsa2048"), issuers=("x",), challenges=())
        (mine, others) = self.alarms.mark([Facts(plan=one, state=Missing(), held=None) for one in (plan, other)])
        assert others.alarms == ()
        return [alarm.reason for alarm in mine.alarms]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    one = World(tmp_path)
    yield one
    one.memory.close()


async def test_a_certificate_in_memory_only_alarms_until_it_is_kept(world: World) -> None:
    new = Certificate.parse(make_pem(HOST.text))
    with nothing_can_be_written():
        await world.commit.keep(LINEAGE, new, held_of(new, issuer="x", is_owned=True))
        assert "File too large" in " ".join(world.told())
        await world.commit.save_again()
        assert len(world.told()) == 1
    await world.commit.save_again()
    assert world.told() == []


async def test_a_file_that_somebody_took_is_written_again_unless_it_must_not_serve(
    world: World, tmp_path: Path
) -> None:
    file, mine = tmp_path / HOST.text, Certificate.parse(make_pem(HOST.text))
    await world.commit.keep(LINEAGE, mine, held_of(mine, issuer="x", is_owned=True))
    file.unlink()
    with nothing_can_be_written():
        await world.commit.keep_lost([LINEAGE], lambda _: mine)
        assert "in memory only" in " ".join(world.told())
    await world.commit.save_again()
    assert world.told() == []
    assert Certificate.parse(file.read_bytes()) == mine
    world.store.condemn(HOST, mine, "revoked")
    assert not file.exists()
    await world.commit.keep_lost([LINEAGE], lambda _: mine)
    assert not file.exists()


async def test_a_cache_that_takes_nothing_alarms_until_it_does(world: World) -> None:
    world.alarms.open()
    assert world.cache() == ""
    with nothing_can_be_written():
        world.alarms.open()  # the journal is there already: it serves on
        assert "is not writable" in world.cache()
    world.alarms.open()
    assert world.cache() == ""


async def test_a_journal_that_is_not_written_alarms_until_it_is(world: World) -> None:
    with nothing_can_be_written():
        world.memory.note("anything", HOST, None)
        world.memory.flush()
        assert "the journal" in world.cache()
    world.memory.flush()
    assert world.cache() == ""


async def test_a_place_where_nothing_is_and_nothing_can_be_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, cache=Path("/proc/self/cache"))
    with pytest.raises(StoreError):
        world.alarms.open()
    world.memory.close()
