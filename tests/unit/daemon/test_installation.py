"""Clients see the new certificate, or the one before serves again: with the real table, listener, store and journal."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pebble.server import free_port
from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.networks import NOBODY, Networks, network_of
from proxyd.daemon.installation import Installation
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.commit import Commit
from proxyd.issuance.keeper import Installed, Serving, TakenBack
from proxyd.issuance.memory import Memory, held_of
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from proxyd.store.journal import Journal
from proxyd.store.pending_orders import PendingOrders
from proxyd.tls.certificate_table import CertificateTable
from proxyd.tls.context import load_pem
from tests.support.certs import make_pem
from tests.support.tls_listener import Address, another_program, our_listener, silence

LOOPBACK = Networks([network_of("127.0.0.0/8")])
HOST, ALIAS = Hostname("example.com"), Hostname("www.example.com")
CA = "https://ca.example/dir"
_HOUR = timedelta(hours=1)


def lineage(*names: Hostname, key_kind: str = "p256") -> Lineage:
    return Lineage(host=names[0], names=names, key_kind=key_kind)


def certificate(*names: Hostname, rsa_key: bool = False, ago: timedelta = timedelta(0)) -> Certificate:
    begin = datetime.now(UTC) - ago
    return Certificate.parse(make_pem(*(name.text for name in names), rsa_key=rsa_key, begin=begin))


class World:
    """The parts of the daemon that put a certificate to use."""

    def __init__(self, directory: Path, *, balancers: Networks = NOBODY) -> None:
        clock = SystemClock()
        self.store = CertificateStore(DirectoryStore(directory, clock=clock), clock=clock)
        self.memory = Memory(Journal(directory / "journal.sqlite3", clock=clock), clock=clock)
        self.memory.open()
        self.table = CertificateTable()
        self.listening: Address | None = None
        self.alone = True
        self.managed = True
        self.told = 0
        self.installation = Installation(
            table=self.table,
            memory=self.memory,
            listening_at=lambda: self.listening,
            installed=self._installed,
            is_alone=lambda _: self.alone,
            is_managed=lambda _: self.managed,
            clock=clock,
            balancers=balancers,
            look_again=timedelta(milliseconds=1),
            patience=0.5,
        )
        self.commit = Commit(
            store=self.store,
            orders=PendingOrders(self.store.store),
            memory=self.memory,
            keeper=self.installation,
            issuer_of=lambda _lineage, _name: None,
        )

    def _installed(self) -> None:
        self.told += 1

    async def use(self, one: Lineage, new: Certificate) -> Installed:
        """Keep and use it, as the renewer does."""
        before = self.table.of_kind(one.host, one.key_kind)
        known = held_of(before, issuer=CA, is_owned=True) if before else None
        await self.commit.keep(one, new, held_of(new, issuer=CA, is_owned=True))
        return await self.commit.use(one, new, known)

    def events(self, host: Hostname = HOST) -> list[str]:
        return [event.kind for event in self.memory.history(host)]

    def alarm(self) -> str:
        return "; ".join(alarm.reason for _, alarm in self.installation.alarms())

    def reason(self, kind: str) -> str:
        return next(one.text("reason") for one in self.memory.history(HOST) if one.kind == kind)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    one = World(tmp_path)
    yield one
    one.memory.close()


def program(one: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pem(context, one.pem)
    return context


async def test_what_clients_see_is_confirmed(world: World) -> None:
    async with our_listener(world.table, world.memory) as world.listening:
        for number in range(2):
            new = certificate(HOST, ago=(2 - number) * _HOUR)
            assert await world.use(lineage(HOST), new) == Serving()
            assert world.table.certificate(HOST) == new
            assert world.store.load(HOST) == new
    assert world.events() == ["confirmed", "confirmed"]
    assert world.told == 2


async def test_each_kind_of_key_is_confirmed_and_the_other_one_stays(world: World) -> None:
    world.alone = False
    modern, old, newer = certificate(HOST), certificate(HOST, rsa_key=True), certificate(HOST, rsa_key=True)
    async with our_listener(world.table, world.memory) as world.listening:
        await world.use(lineage(HOST), modern)
        assert await world.use(lineage(HOST, key_kind="rsa2048"), old) == Serving()
        assert await world.use(lineage(HOST, key_kind="rsa2048"), newer) == Serving()
    assert world.table.certificates(HOST) == (modern, newer)
    assert world.events() == ["confirmed"] * 3


async def test_where_balancers_have_to_say_whom_they_bring_we_say_that_we_are_none(tmp_path: Path) -> None:
    world = World(tmp_path, balancers=LOOPBACK)
    async with our_listener(world.table, world.memory, balancers=LOOPBACK) as world.listening:
        assert await world.use(lineage(HOST), certificate(HOST)) == Serving()
    assert world.events() == ["confirmed"]
    world.memory.close()


async def test_a_shared_certificate_serves_all_of_its_names(world: World) -> None:
    new = certificate(HOST, ALIAS)
    async with our_listener(world.table, world.memory) as world.listening:
        assert await world.use(lineage(HOST, ALIAS), new) == Serving()
        assert all([await world.table.confirm(name, new) for name in (HOST, ALIAS)])


async def test_an_address_is_looked_at_where_its_clients_come_in(world: World) -> None:
    host = Hostname("127.0.0.1")
    async with our_listener(world.table, world.memory) as world.listening:
        assert await world.use(lineage(host), certificate(host)) == Serving()
    assert world.events(host) == ["confirmed"]


async def test_a_wrong_leaf_puts_the_previous_certificate_back_for_good(world: World, tmp_path: Path) -> None:
    previous, new = certificate(HOST, ALIAS, ago=_HOUR), certificate(HOST, ALIAS)
    both = lineage(HOST, ALIAS)
    await world.use(both, previous)
    async with another_program(program(certificate(HOST))) as world.listening:
        outcome = await world.use(both, new)
    assert isinstance(outcome, TakenBack)
    assert outcome.previous == previous
    assert "another program" in outcome.reason
    assert all([await world.table.confirm(name, previous) for name in (HOST, ALIAS)])
    assert world.events() == ["not confirmed", "taken back"]
    assert world.alarm() == ""  # the state of the host says it
    assert "what served before serves again" in world.reason("not confirmed")
    assert world.store.load(HOST) == previous
    assert world.memory.held(both, previous).issuer == CA  # its window is asked for again
    clock = SystemClock()
    (tmp_path / HOST.text).write_bytes(new.pem)  # as an old backup would
    again = CertificateStore(DirectoryStore(tmp_path, clock=clock), clock=clock)  # the mark is on disk
    assert again.is_condemned(new)
    assert again.load(HOST) == previous


async def test_our_listener_with_another_table_shows_a_wrong_leaf(world: World, tmp_path: Path) -> None:
    """Another process on our port that never learned of the new certificate."""
    previous, new, table = certificate(HOST, ago=_HOUR), certificate(HOST), CertificateTable()
    table.put(HOST, [previous])
    await world.use(lineage(HOST), previous)
    async with our_listener(table, world.memory) as world.listening:
        assert isinstance(await world.use(lineage(HOST), new), TakenBack)
        assert world.table.certificate(HOST) == previous


async def test_another_process_may_notice_the_new_one_a_moment_later(world: World) -> None:
    previous, new, table = certificate(HOST, ago=_HOUR), certificate(HOST), CertificateTable()
    table.put(HOST, [previous])
    world.table.put(HOST, [previous])
    asked: list[str] = []
    context = program(previous)

    def hello(connection: ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
        asked.append(name)
        if len(asked) == 3:
            table.put(HOST, [new])
        selection = table.select(name)
        assert selection is not None
        connection.context = selection.context

    context.sni_callback = hello
    async with another_program(context) as world.listening:
        assert await world.use(lineage(HOST), new) == Serving()
    assert len(asked) == 3
    assert world.table.certificate(HOST) == new
    assert world.events() == ["confirmed"]


async def test_a_wrong_second_kind_of_key_does_not_cost_the_first(world: World) -> None:
    world.alone = False
    modern, old, new = certificate(HOST), certificate(HOST, rsa_key=True, ago=_HOUR), certificate(HOST, rsa_key=True)
    await world.use(lineage(HOST), modern)
    await world.use(lineage(HOST, key_kind="rsa2048"), old)
    async with another_program(program(certificate(HOST, rsa_key=True))) as world.listening:
        outcome = await world.use(lineage(HOST, key_kind="rsa2048"), new)
    assert isinstance(outcome, TakenBack)
    assert outcome.previous == old
    assert world.table.certificates(HOST) == (modern, old)
    assert world.store.load(HOST, ["ec"]) == modern
    assert world.store.load(HOST, ["rsa"]) == old


@pytest.mark.parametrize("is_rsa_wrong", [True, False])
async def test_of_two_kinds_of_keys_at_once_only_the_wrong_one_is_taken_back(world: World, is_rsa_wrong: bool) -> None:
    world.alone = False
    old = [certificate(HOST, rsa_key=is_rsa, ago=_HOUR) for is_rsa in (False, True)]
    new = [certificate(HOST, rsa_key=is_rsa) for is_rsa in (False, True)]
    world.table.put(HOST, old)
    context = program(certificate(HOST, rsa_key=is_rsa_wrong))
    load_pem(context, new[not is_rsa_wrong].pem)
    kinds = ("p256", "rsa2048")
    async with another_program(context) as world.listening:
        both = zip(kinds, new, strict=True)
        outcomes = await asyncio.gather(*(world.use(lineage(HOST, key_kind=kind), one) for kind, one in both))
    assert [type(one) for one in outcomes] == ([Serving, TakenBack] if is_rsa_wrong else [TakenBack, Serving])
    assert world.table.certificates(HOST) == ((new[0], old[1]) if is_rsa_wrong else (old[0], new[1]))
    assert all([await world.table.confirm(HOST, one) for one in world.table.certificates(HOST)])


@pytest.mark.parametrize("before", [None, timedelta(days=91)], ids=["nothing", "an expired one"])
async def test_with_nothing_better_to_show_a_wrong_leaf_only_alarms(world: World, before: timedelta | None) -> None:
    if before:
        world.table.put(HOST, [certificate(HOST, ago=before)])
    new = certificate(HOST)
    async with another_program(program(certificate(HOST))) as world.listening:
        assert await world.use(lineage(HOST), new) == Serving()
    assert world.table.certificate(HOST) == new
    assert world.events() == ["not confirmed"]
    assert not world.store.is_condemned(new)


@pytest.mark.parametrize("takes_connections", [True, False])
async def test_silence_only_alarms(world: World, takes_connections: bool) -> None:
    previous, new = certificate(HOST, ago=_HOUR), certificate(HOST)
    world.table.put(HOST, [previous])
    with silence() as address:
        world.listening = address if takes_connections else ("127.0.0.1", free_port())
        assert await world.use(lineage(HOST), new) == Serving()
    assert world.table.certificate(HOST) == new
    assert world.events() == ["not confirmed"]
    assert "could not be looked at" in world.reason("not confirmed")
    assert not world.store.is_condemned(new)


async def test_an_alarm_lasts_until_clients_see_the_certificate(world: World) -> None:
    new = certificate(HOST)
    with silence() as world.listening:
        await world.use(lineage(HOST), new)
        await world.installation.look_again()
        assert "could not be looked at" in world.alarm()
    async with another_program(program(certificate(HOST))) as world.listening:
        await world.installation.look_again()
        assert "shows another certificate" in world.alarm()
        assert world.table.certificate(HOST) == new  # what serves is not touched any more
    async with our_listener(world.table, world.memory) as world.listening:
        await world.installation.look_again()
    assert world.alarm() == ""
    assert world.events() == ["not confirmed", "confirmed"]


async def test_a_host_that_was_removed_alarms_no_more(world: World) -> None:
    with silence() as world.listening:
        await world.use(lineage(HOST), certificate(HOST))
        world.table.remove(HOST)
        await world.installation.look_again()
    assert world.alarm() == ""


@pytest.mark.parametrize("before", [True, False])
async def test_a_host_that_is_removed_while_its_certificate_is_installed_stays_removed(
    world: World, before: bool
) -> None:
    new = certificate(HOST)
    if before:
        world.table.put(HOST, [certificate(HOST, ago=_HOUR)])
    async with our_listener(world.table, world.memory) as world.listening:
        installing = asyncio.create_task(world.installation.install(lineage(HOST), new))
        await asyncio.sleep(0)  # its context is being made
        world.managed = False
        world.table.keep_only([])
        assert await installing == Serving()
    assert world.table.certificates(HOST) == ()
    assert (world.events(), world.alarm()) == ([], "")
    assert await world.use(lineage(HOST), new) == Serving()  # as the retry of what this machine had no room for
    assert world.table.certificates(HOST) == ()
    assert list(world.commit.alarms()) == []


async def test_what_is_removed_while_clients_are_looked_for_is_not_taken_back(world: World) -> None:
    new = certificate(HOST)
    world.table.put(HOST, [certificate(HOST, ago=_HOUR)])

    def hello(*_: object) -> None:
        world.table.remove(HOST)

    context = program(certificate(HOST))
    context.sni_callback = hello
    async with another_program(context) as world.listening:
        assert await world.use(lineage(HOST), new) == Serving()
    assert world.table.certificates(HOST) == ()
    assert not world.store.is_condemned(new)


async def test_without_a_listener_the_handshake_in_memory_is_all(world: World) -> None:
    assert await world.use(lineage(HOST), certificate(HOST)) == Serving()
    elsewhere = Hostname("198.51.100.7")  # not an address of this machine
    world.listening = ("127.0.0.1", free_port())
    assert await world.use(lineage(elsewhere), certificate(elsewhere)) == Serving()
    assert world.events() == world.events(elsewhere) == []


async def test_what_openssl_rejects_is_taken_back(world: World) -> None:
    previous, new = certificate(HOST, ago=_HOUR), certificate(HOST)
    await world.use(lineage(HOST), previous)
    assert await world.table.confirm(HOST, previous)
    broken = replace(new, pem=new.pem[:-100])
    outcome = await world.installation.install(lineage(HOST), broken)
    assert isinstance(outcome, TakenBack)
    assert "OpenSSL rejects" in outcome.reason
    assert await world.table.confirm(HOST, previous)
    assert world.events() == ["not confirmed"]


async def test_a_handshake_in_memory_that_shows_nothing_is_a_wrong_leaf(world: World) -> None:
    """An RSA certificate that says it is another kind: its client sees nothing of it."""
    previous, new = certificate(HOST, ago=_HOUR), certificate(HOST)
    await world.use(lineage(HOST), previous)
    outcome = await world.installation.install(lineage(HOST), replace(new, key_kind="rsa2048"))
    assert isinstance(outcome, TakenBack)
    assert "a handshake in memory for example.com" in outcome.reason
    assert await world.table.confirm(HOST, previous)
    assert world.told == 1


async def test_what_was_not_confirmed_before_a_start_is_looked_at_again(world: World) -> None:
    async with our_listener(world.table, world.memory) as world.listening:
        world.table.put(HOST, [new := certificate(HOST)])
        world.installation.doubt([lineage(HOST), lineage(ALIAS)])  # nothing serves the other one any more
        assert "it was not when proxyd was started" in world.alarm()
        await world.installation.look_again()
        assert not world.alarm()
        assert world.table.certificate(HOST) == new
