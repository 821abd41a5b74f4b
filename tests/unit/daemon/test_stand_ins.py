import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.daemon.stand_ins import StandIns
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from proxyd.tls.certificate_table import CertificateTable
from tests.support.certs import make_pem
from tests.support.clock import FakeClock

A, B, C = (Hostname(f"{letter}.example") for letter in "abc")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(*names: Hostname | str, age: int = 1, lifetime: int = 90) -> Certificate:
    return Certificate.parse(make_pem(*map(str, names), begin=NOW - age * DAY, lifetime=lifetime * DAY))


def lineage(*names: Hostname) -> Lineage:
    return Lineage(host=names[0], names=names, key_kind="p256")


class World:
    """A cache, and what serves."""

    def __init__(self, root: Path) -> None:
        clock = self.clock = FakeClock(NOW)
        self.store = CertificateStore(DirectoryStore(root, clock=clock), clock=clock)
        self.table = CertificateTable()
        self.stand_ins = StandIns(
            table=self.table,
            store=self.store,
            clock=clock,
            serving=lambda one: self.table.of_kind(one.host, one.key_kind),
        )

    def start(self, *lineages: Lineage) -> None:
        for one in lineages:
            if found := self.store.load(one.host):
                for name in one.names:
                    if found.covers(name):
                        self.table.put(name, [found])
        self.stand_ins.use_loaded(lineages)
        asyncio.run(self.stand_ins.use_others(lineages))


def test_names_that_shared_a_certificate_are_served_by_it_until_each_has_its_own(tmp_path: Path) -> None:
    world, shared = World(tmp_path), certificate(A, B)
    world.store.save(A, shared)
    world.start(lineage(A), lineage(B))
    assert world.table.certificate(B) == shared
    assert world.stand_ins.holds(B, shared)
    assert not world.stand_ins.holds(A, shared)
    own = certificate(B)
    world.table.put(B, [own])
    world.start(lineage(A), lineage(B))
    assert world.table.certificate(B) == own
    assert not world.stand_ins.holds(B, own)


def test_the_certificate_of_a_host_that_is_listed_no_more_serves_its_other_names(tmp_path: Path) -> None:
    world, shared = World(tmp_path), certificate(A, B)
    world.store.save(A, shared)
    world.start(lineage(B, A), lineage(C))
    assert [world.table.certificate(name) for name in (A, B, C)] == [shared, shared, None]


def test_the_newest_valid_one_serves_and_none_that_ran_out_or_was_taken_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    expired, old, new, bad = (
        certificate(one, B, age=age) for one, age in ((A, 99), ("d.x", 9), ("e.x", 5), ("f.x", 1))
    )
    for one in (expired, old, new, bad):
        world.store.save(min(one.names - {B}, key=str), one)
    world.store.condemn(Hostname("f.x"), bad, "revoked")
    (tmp_path / "g.x").write_bytes(b"garbage")
    world.start(lineage(B))
    assert world.table.certificate(B) == new
    assert (tmp_path / "g.x").exists()  # it is nobody's
    world.table.remove(B)
    world.store.condemn(Hostname("e.x"), new, "revoked")
    world.start(lineage(B))
    assert world.table.certificate(B) == old


def test_a_valid_one_serves_before_one_that_ran_out_and_a_wildcard_covers(tmp_path: Path) -> None:
    world, wild = World(tmp_path), certificate("*.example", "example")
    world.store.save(B, certificate(B, age=99))
    world.store.save(Hostname("example"), wild)
    world.start(lineage(B))
    assert world.table.certificate(B) == wild


def test_a_file_of_another_host_is_no_stand_in(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "a.example").write_bytes(make_pem("b.example", begin=NOW - DAY))
    world.start(lineage(B))
    assert world.table.certificate(B) is None


def test_what_served_before_a_reload_that_groups_names_otherwise_stands_in(tmp_path: Path) -> None:
    world, shared, together = World(tmp_path), certificate(A, B), lineage(A, B)
    world.table.put(C, [certificate(C)])
    world.table.put(A, [shared])
    world.table.put(B, [shared])
    alone = [lineage(A), lineage(B)]
    world.stand_ins.regrouped([lineage(C), *alone], set(alone), {lineage(A): shared})
    assert world.stand_ins.holds(B, shared)
    assert not world.stand_ins.holds(A, shared)
    assert not world.stand_ins.holds(C, shared)
    second = replace(together, key_kind="rsa2048")
    world = World(tmp_path)
    world.table.put(A, [shared])
    world.stand_ins.regrouped([together, second], {second}, {})  # the first goes on as it was
    assert not world.stand_ins.holds(A, shared)


def test_what_stood_in_and_ran_out_is_replaced_or_goes(tmp_path: Path) -> None:
    world, old, newer = World(tmp_path), certificate("o.x", B, age=80), certificate("n.x", B, age=5)
    world.store.save(Hostname("o.x"), old)
    world.start(lineage(B), lineage(C))
    for days, serving in ((9, old), (2, None)):
        world.clock.advance(days * DAY)
        asyncio.run(world.stand_ins.look_again([lineage(B), lineage(C)]))
        assert world.table.certificate(B) == serving
    world = World(tmp_path)
    world.start(lineage(B))
    world.store.save(Hostname("n.x"), newer)
    world.clock.advance(11 * DAY)
    asyncio.run(world.stand_ins.look_again([lineage(B)]))
    assert world.table.certificate(B) == newer
    assert world.stand_ins.holds(B, newer)
