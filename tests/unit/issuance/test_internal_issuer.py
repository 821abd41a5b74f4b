"""Our own CA as an Issuer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.certs.acceptance import objection
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.core.trouble import TroubleKind
from proxyd.issuance.internal_issuer import LIFE, InternalIssuer
from proxyd.issuance.issuer import Issuer
from proxyd.issuance.memory import Memory
from proxyd.store.directory import PRIVATE, DirectoryStore
from proxyd.store.journal import Journal
from tests.support.clock import FakeClock


@dataclass
class World:
    """A cache, its journal and a clock; `issuer` starts anew on them."""

    directory: Path
    clock: FakeClock
    memory: Memory

    def issuer(self) -> InternalIssuer:
        store = DirectoryStore(self.directory, clock=self.clock)
        return InternalIssuer(store, machine="m", memory=self.memory, clock=self.clock)

    @property
    def root(self) -> Path:
        return self.directory / PRIVATE / "internal-ca" / "root.pem"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = FakeClock()
    memory = Memory(Journal(tmp_path / "journal.sqlite3", clock=clock), clock=clock)
    memory.open()
    yield World(tmp_path, clock, memory)
    memory.close()


def _order(*names: str, kind: str = "p256") -> CertificateOrder:
    hosts = tuple(map(Hostname.parse, names))
    return CertificateOrder(host=hosts[0], names=hosts, key_kind=kind)


async def test_it_gives_a_certificate_for_what_was_asked(world: World) -> None:
    issuer: Issuer = world.issuer()
    names = "app.test", "10.0.0.1"
    issuance = await issuer.issue(_order(*names), [])
    assert objection(issuance.certificate, map(Hostname, names), world.clock.now()) is None
    assert issuance.certificate.not_after == world.clock.now() + LIFE
    assert (issuance.challenge, issuance.account) == (None, None)
    assert issuer.name == "internal"
    assert not await issuer.has_windows()
    await issuer.revoke(issuance.certificate, 0)


async def test_every_certificate_has_a_key_of_its_own(world: World) -> None:
    issuer = world.issuer()
    first, second = [(await issuer.issue(_order("app.test"), [])).certificate for _ in range(2)]
    assert not first.has_key_of(second)
    assert first.serial != second.serial
    assert (await issuer.issue(_order("app.test", kind="rsa2048"), [])).certificate.key_kind == "rsa2048"


async def test_it_is_newer_than_what_it_replaces(world: World) -> None:
    issuer, now = world.issuer(), world.clock.now()
    for before in (timedelta(days=-1), timedelta(minutes=-5), timedelta(days=1)):
        order = replace(_order("app.test"), follows=now + before)
        begins = (await issuer.issue(order, [])).certificate.not_before
        assert min(now + before, now - timedelta(seconds=1)) < begins <= now


async def test_one_name_that_is_not_local_takes_the_other_root(world: World) -> None:
    issuer = world.issuer()
    one, both = [(await issuer.issue(_order(*names), [])).certificate for names in (["a.test"], ["a.test", "nas"])]
    assert "any name" not in one.issuer
    assert "any name" in both.issuer


async def test_a_broken_root_is_replaced_and_told_until_it_was_shown(world: World) -> None:
    first = (await world.issuer().issue(_order("app.test"), [])).certificate
    assert not [*world.issuer().alarms()]
    world.root.write_bytes(b"")
    issuer = world.issuer()
    await issuer.keep_roots()  # before any order
    ((limited, alarm),) = issuer.alarms()
    assert limited
    assert alarm.kind is TroubleKind.ROOT_CHANGED
    assert "is broken" in alarm.reason
    assert str(world.directory / PRIVATE / "aside") in alarm.reason
    second = (await issuer.issue(_order("app.test"), [])).certificate
    assert second.issuer != first.issuer
    assert [*world.issuer().alarms()] == [(limited, alarm)]  # after a restart
    issuer.was_shown()
    assert not [*world.issuer().alarms()]


async def test_a_lost_root_is_told(world: World) -> None:
    await world.issuer().issue(_order("app.test"), [])
    world.root.unlink()
    issuer = world.issuer()
    await issuer.issue(_order("app.test"), [])
    ((_, alarm),) = issuer.alarms()
    assert "the file of the one before has gone" in alarm.reason


async def test_no_root_is_made_before_it_is_needed(world: World) -> None:
    await world.issuer().keep_roots()
    assert not world.root.exists()


async def test_a_root_that_ends_soon_is_told(world: World) -> None:
    issuer = world.issuer()
    await issuer.issue(_order("app.test"), [])
    world.clock.advance(timedelta(days=3650 - 170))
    ((_, alarm),) = issuer.alarms()
    assert "ends on 2036" in alarm.reason


async def test_a_clock_from_before_the_root_costs_no_root(world: World) -> None:
    issuer = world.issuer()
    await issuer.issue(_order("app.test"), [])
    before = world.root.read_bytes()
    world.clock.jump(-timedelta(days=400))
    with pytest.raises(
        IssuanceError, match=r"app\.test: the root of the internal CA is valid from .*set the clock"
    ) as e:
        await issuer.issue(_order("app.test"), [])
    assert e.value.failure.kind is FailureKind.LOCAL
    assert world.root.read_bytes() == before


async def test_a_cache_that_keeps_nothing_gives_no_root(world: World) -> None:
    (world.directory / PRIVATE).write_text("in the way")
    (world.directory / PRIVATE).unlink()
    issuer = InternalIssuer(
        DirectoryStore(Path("/proc/none"), clock=world.clock), machine="m", memory=world.memory, clock=world.clock
    )
    with pytest.raises(
        IssuanceError, match=r"app\.test: the internal CA cannot use its root: .*cannot be written"
    ) as e:
        await issuer.issue(_order("app.test"), [])
    assert e.value.failure.kind is FailureKind.LOCAL
