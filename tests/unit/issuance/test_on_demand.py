"""Names under wildcard hosts: who is let in, what is tried again, what is forgotten."""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from proxyd.config.ask_url import AskUrl
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.fleet import Fleet
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.renewal import Validity
from proxyd.core.task import OrderTask
from proxyd.issuance.host_policy import Allowed, NoMore, NotNow
from proxyd.issuance.memory import Memory
from proxyd.issuance.on_demand import OnDemand, Outcome, Rule
from proxyd.store.journal import Journal
from tests.support.ask import AskServer
from tests.support.clock import FakeClock
from tests.support.daemon import eventually

PATTERN = HostPattern("*.apps.example.com")
NAMES = [Hostname(f"n{number}.apps.example.com") for number in range(400)]
A = NAMES[0]


class World:
    """OnDemand with a real fleet and journal; the test plays the renewer."""

    def __init__(self, directory: Path, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.fleet = Fleet(rng=random.Random(1), registered_domain=lambda host: host.text)
        self.memory = Memory(Journal(directory / "journal.sqlite3", clock=self.clock), clock=self.clock)
        self.served: set[Hostname] = set()
        self.dropped: list[Hostname] = []
        self.standby: str | None = None
        self.on_demand = OnDemand(
            fleet=self.fleet,
            memory=self.memory,
            clock=self.clock,
            plans_for=lambda host: [plan(host)],
            manage=self.manage,
            is_served=self.served.__contains__,
            dropped=self.dropped.append,
            not_our_turn=lambda: self.standby,
        )

    def manage(self, plans: Sequence[Plan]) -> None:
        for one in plans:
            self.fleet.add(one, self.clock.now())
            self.memory.recall(self.fleet, one.lineage, self.clock.now())

    def use(self, *, ask: str | None = None, most: int = 1000, names: Sequence[Hostname] = ()) -> None:
        url = AskUrl.parse(ask) if ask else None
        rule = Rule(pattern=PATTERN, ask=url, max_new_per_day=most, public=True)
        self.on_demand.use(HostTable[Rule | None]({}, {PATTERN: rule}), map(plan, names))

    async def hello(self, host: Hostname, network: int = 1) -> Outcome:
        return await self.on_demand.wait(host.text, f"10.{network // 250}.{network % 250}.7")

    async def task(self) -> OrderTask:
        """Return the order that is due."""
        async with asyncio.timeout(5):
            while True:
                for one in self.fleet.tasks(self.clock.now(), 1):
                    if isinstance(one, OrderTask):
                        return one
                await asyncio.sleep(0.005)

    def fail(self, task: OrderTask) -> None:
        failure = Failure(kind=FailureKind.VALIDATION, message="no", challenge="http-01")
        self.fleet.failed(task, failure, self.clock.now())
        self.memory.keep_lineage(self.fleet, task.lineage)
        self.on_demand.review()

    async def fail_all(self) -> int:
        """Have every order fail that is due and permitted; return how many these were."""
        sent = 0
        for task in self.fleet.tasks(self.clock.now(), 100, 0):
            assert isinstance(task, OrderTask)
            if isinstance(await self.on_demand.permit(task.lineage), Allowed):
                self.fail(task)
                sent += 1
            else:
                now = self.clock.now()
                self.fleet.not_sent(task, Failure(kind=FailureKind.LOCAL, message="not wanted"), now, now)
                self.fleet.forget(task.lineage)
                self.memory.give_up(task.lineage)
                self.on_demand.forgotten(task.lineage)
        return sent

    def succeed(self, task: OrderTask, days: int = 90) -> None:
        now = self.clock.now()
        self.fleet.issued(task, held(now, days), None, now)
        self.served.add(task.lineage.host)
        self.on_demand.review()


def held(begin: datetime, days: int = 90) -> Held:
    validity = Validity(not_before=begin, not_after=begin + timedelta(days=days))
    return Held(validity=validity, serial=1, cert_id="", issuer="ca", is_owned=True)


def plan(host: Hostname) -> Plan:
    lineage = Lineage(host=host, names=(host,), key_kind="p256")
    return Plan(lineage=lineage, issuers=("ca",), challenges=("http-01",), on_demand=True)


@asynccontextmanager
async def a_world(directory: Path, clock: FakeClock | None = None) -> AsyncIterator[World]:
    world = World(directory, clock)
    world.memory.open()
    running = asyncio.get_running_loop().create_task(world.on_demand.run())
    await asyncio.sleep(0)
    try:
        yield world
    finally:
        running.cancel()
        await asyncio.wait([running])
        world.memory.close()


async def test_all_handshakes_wait_for_one_order(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.use()
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(world.hello(A)) for _ in range(50)]
            task = await world.task()
            assert await world.on_demand.permit(task.lineage) == Allowed()
            world.succeed(task)
        assert {one.result() for one in waiting} == {Outcome.SERVED}
        assert world.fleet.wake_at() is not None
        assert world.on_demand.names == {A}


async def test_a_failed_name_is_forgotten_when_nobody_asks_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.use()
        hello = asyncio.get_running_loop().create_task(world.hello(A))
        task = await world.task()
        assert await world.on_demand.permit(task.lineage) == Allowed()
        world.fail(task)
        assert await hello is Outcome.LATER
        world.clock.advance(timedelta(minutes=2))
        again = await world.task()
        assert isinstance(await world.on_demand.permit(again.lineage), NoMore)
        world.fleet.forget(again.lineage)
        world.on_demand.forgotten(again.lineage)
        assert world.on_demand.names == frozenset()
        assert world.dropped == [A]


async def test_a_failed_name_is_tried_again_by_its_schedule_when_somebody_asks(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.use()
        hello = asyncio.get_running_loop().create_task(world.hello(A))
        world.fail(await world.task())
        assert await hello is Outcome.LATER
        assert await world.hello(A) is Outcome.LATER  # at once
        assert world.fleet.tasks(world.clock.now(), 1) == []
        world.clock.advance(timedelta(minutes=2))
        again = await world.task()
        assert await world.on_demand.permit(again.lineage) == Allowed()
        world.fail(again)
        world.clock.advance(timedelta(days=2))
        last = await world.task()
        assert isinstance(await world.on_demand.permit(last.lineage), NoMore)


async def test_ask_is_consulted_before_a_renewal(tmp_path: Path) -> None:
    status = 200
    with AskServer(lambda _: status) as ask:
        async with a_world(tmp_path) as world:
            world.use(ask=ask.url)
            hello = asyncio.get_running_loop().create_task(world.hello(A))
            task = await world.task()
            assert await world.on_demand.permit(task.lineage) == Allowed()
            world.succeed(task)
            assert await hello is Outcome.SERVED
            assert len(ask.asked) == 1
            assert await world.on_demand.permit(task.lineage) == Allowed()
            assert len(ask.asked) == 2
            status = 500  # the last good thing keeps serving
            assert await world.on_demand.permit(task.lineage) == Allowed()
            status = 404
            now = world.clock.now()
            refused = await world.on_demand.permit(task.lineage)
            assert isinstance(refused, NotNow)
            assert refused.until == now + timedelta(days=1)
            world.clock.advance(timedelta(days=89, hours=20))
            refused = await world.on_demand.permit(task.lineage)
            assert isinstance(refused, NotNow)
            assert refused.until == now + timedelta(days=90)  # forgotten when it has run out, and not later
            world.clock.advance(timedelta(hours=5))
            assert isinstance(await world.on_demand.permit(task.lineage), NoMore)


async def test_a_day_has_so_many_new_names_and_the_next_one_again(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.use(most=2)
        hellos = [asyncio.get_running_loop().create_task(world.hello(name, 1)) for name in NAMES[:2]]
        for _ in hellos:
            world.succeed(await world.task())
        assert [await one for one in hellos] == [Outcome.SERVED] * 2
        assert await world.hello(NAMES[2]) is Outcome.LATER
        world.clock.advance(timedelta(hours=23))
        assert await world.hello(NAMES[2]) is Outcome.LATER
        world.clock.advance(timedelta(hours=2, minutes=1))
        hello = asyncio.get_running_loop().create_task(world.hello(NAMES[2]))
        world.succeed(await world.task())
        assert await hello is Outcome.SERVED


async def test_names_that_wait_and_questions_are_bounded(tmp_path: Path) -> None:
    with AskServer(lambda _: None) as ask:
        async with a_world(tmp_path) as world:
            world.use(ask=ask.url)
            hellos = [
                asyncio.get_running_loop().create_task(world.hello(name, number)) for number, name in enumerate(NAMES)
            ]
            done, waiting = await asyncio.wait(hellos, timeout=1)
            assert {one.result() for one in done} == {Outcome.LATER}
            assert len(waiting) == 256
            assert len(ask.asked) <= 16
            for one in waiting:
                one.cancel()
            await asyncio.wait(waiting)
            assert world.fleet.states() == {}


async def test_strangers_hold_up_neither_renewals_nor_who_comes_after_them(tmp_path: Path) -> None:
    gate, strangers, late = threading.Semaphore(0), NAMES[1:100], NAMES[100]

    def answer(name: str) -> int:
        if name in (A.text, late.text):
            return 200
        gate.acquire(timeout=30)
        return 404

    with AskServer(answer) as ask:
        async with a_world(tmp_path) as world, asyncio.TaskGroup() as group:
            world.use(ask=ask.url)
            hello = group.create_task(world.hello(A))
            task = await world.task()
            world.succeed(task)
            assert await hello is Outcome.SERVED
            floods = [group.create_task(world.hello(name, number)) for number, name in enumerate(strangers)]
            await asyncio.to_thread(eventually, lambda: len(ask.asked) == 17)
            assert await world.on_demand.permit(task.lineage) == Allowed()
            assert all(world.on_demand.refusal(name) is None for name in strangers)
            for one in floods[40:]:
                one.cancel()  # these clients are gone
            hello = group.create_task(world.hello(late))
            for _ in range(10):
                await asyncio.sleep(0)  # it waits for its turn
            gate.release()
            world.succeed(await world.task())
            assert await hello is Outcome.SERVED
            gate.release(len(strangers))
            await asyncio.wait(floods)
        assert ask.asked[18] == late.text
        assert not {name.text for name in strangers[40:]} & {*ask.asked}


async def test_after_the_loss_of_the_journal_the_young_certificates_count_as_the_days_new_names(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        world.on_demand.open()
        for number, days in enumerate((0, 0, 3)):
            world.fleet.add(plan(NAMES[number]), world.clock.now())
            begin = world.clock.now() - timedelta(days=days)
            world.fleet.found(plan(NAMES[number]).lineage, held(begin), world.clock.now())
        world.use(most=3, names=NAMES[:3])
        assert await world.hello(NAMES[3]) is Outcome.LATER  # the cache is being read
        world.on_demand.cache_read()
        hello = asyncio.get_running_loop().create_task(world.hello(NAMES[3]))
        world.succeed(await world.task())
        assert await hello is Outcome.SERVED
        assert await world.hello(NAMES[4]) is Outcome.LATER
        world.on_demand.open()  # the next start knows it
        assert await world.hello(NAMES[4]) is Outcome.LATER


async def test_a_stop_sends_away_who_waits(tmp_path: Path) -> None:
    with AskServer(lambda _: None) as ask:
        async with a_world(tmp_path) as world:
            world.use(ask=ask.url)
            hello = asyncio.get_running_loop().create_task(world.hello(A))
            await asyncio.sleep(0.05)
        async with asyncio.timeout(1):
            assert await hello is Outcome.LATER
        assert await world.hello(NAMES[1]) is Outcome.LATER


async def test_a_reload_takes_a_wildcard_host_away(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.use()
        hello = asyncio.get_running_loop().create_task(world.hello(A))
        await world.task()
        world.on_demand.use(HostTable(), [])
        assert await hello is Outcome.LATER
        assert await world.hello(A) is Outcome.UNKNOWN
        assert world.on_demand.names == frozenset()


async def test_names_that_are_none_reach_nothing(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.use()
        for name in (
            None,
            "",
            "apps.example.com",
            "x.y.apps.example.com",
            "a_b.apps.example.com",
            "192.0.2.1",
            "x" * 70,
        ):
            assert await world.on_demand.wait(name, "10.0.0.1") is Outcome.UNKNOWN
        assert world.fleet.states() == {}


async def test_who_does_not_order_takes_no_new_names(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:

        def answer(_: str) -> int:
            world.standby = "another one orders"  # it lost its turn meanwhile
            return 200

        with AskServer(answer) as ask:
            world.use(ask=ask.url)
            world.standby = "another one orders"
            assert await world.hello(A) is Outcome.LATER
            assert ask.asked == []
            assert str(world.on_demand.refusal(A)) == "this daemon does not order (another one orders)"
            world.standby = None
            assert await world.hello(A) is Outcome.LATER
            assert ask.asked == [A.text]
        assert world.on_demand.created.total(world.clock.now()) == 0
        assert world.fleet.states() == {}
        world.standby = None
        world.use()
        hello = asyncio.get_running_loop().create_task(world.hello(A))
        world.succeed(await world.task())
        assert await hello is Outcome.SERVED


@pytest.mark.parametrize("restarts", [False, True])
async def test_asking_for_a_failing_name_again_and_again_wins_no_retry(tmp_path: Path, restarts: bool) -> None:
    """Every 75 s: the first wait is over by then, and nobody asked during it."""
    minutes, clock = [], FakeClock()
    begin = clock.now()
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(a_world(tmp_path, clock))
        world.use(most=2)
        while clock.now() < begin + timedelta(hours=5):
            await world.fail_all()
            hello = asyncio.get_running_loop().create_task(world.hello(A))
            while not hello.done():
                await asyncio.sleep(0)
                clock.advance(timedelta(seconds=1))  # it waits for what is due within 20 s
                minutes += [(clock.now() - begin) / timedelta(minutes=1)] * await world.fail_all()
            assert hello.result() is Outcome.LATER
            assert world.on_demand.created.total(clock.now()) == 1
            clock.advance(timedelta(seconds=75))
            minutes += [(clock.now() - begin) / timedelta(minutes=1)] * await world.fail_all()
            if restarts and not world.on_demand.names:
                await stack.aclose()
                world = await stack.enter_async_context(a_world(tmp_path, clock))
                world.on_demand.open()
                world.use(most=2)
    assert [round(one) for one in minutes[:2]] == [0, 1]
    assert len(minutes) == 4  # and then once a day
    assert 10 <= minutes[2] <= 14
    assert 100 <= minutes[3] - minutes[2] <= 115
