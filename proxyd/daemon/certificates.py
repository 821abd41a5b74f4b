"""The certificate half of the daemon: what is obtained, kept, installed and confirmed."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise

from proxyd.certs.certificate import Certificate
from proxyd.config.acme import AcmeOptions
from proxyd.config.model import Config
from proxyd.core.authority import Authority
from proxyd.core.certificate_state import Ordering
from proxyd.core.fleet import Fleet
from proxyd.core.hostname import Hostname
from proxyd.core.key_family import families_from
from proxyd.core.lineage import Lineage, Plan
from proxyd.core.networks import Networks
from proxyd.core.status import Facts
from proxyd.daemon.alarms import Alarms
from proxyd.daemon.authorities import Authorities
from proxyd.daemon.ca_limits import limits_of, registered_domains
from proxyd.daemon.cache_load import CacheLoad, hosts_in
from proxyd.daemon.garbage import keep_all
from proxyd.daemon.installation import Installation
from proxyd.daemon.names import Names
from proxyd.daemon.own_certificates import OwnCertificates
from proxyd.daemon.pickup import Pickup
from proxyd.daemon.plans import plans_of, plans_on_demand, rules_of
from proxyd.daemon.stand_ins import StandIns
from proxyd.issuance.challenge_board import ChallengeBoard
from proxyd.issuance.challenge_hits import ChallengeHits
from proxyd.issuance.challenge_solver import Http01Solver, TlsAlpn01Solver
from proxyd.issuance.clock_guard import ClockGuard
from proxyd.issuance.keeper import Installed
from proxyd.issuance.memory import Memory
from proxyd.issuance.on_demand import OnDemand
from proxyd.issuance.pace import Pace
from proxyd.issuance.renewer import Renewer
from proxyd.issuance.steady_clock import SteadyClock
from proxyd.issuance.turn import OrderTurn
from proxyd.proxy.traffic import Traffic
from proxyd.store.certificate_store import CertificateStore, Wanted
from proxyd.store.directory import PRIVATE, DirectoryStore
from proxyd.store.journal import Journal
from proxyd.store.lease import Lease, Owner
from proxyd.store.pending_orders import PendingOrders
from proxyd.tls.certificate_table import CertificateTable
from proxyd.tls.challenge_table import ChallengeTable

_log = logging.getLogger("proxyd.certificates")
_ORDERS_PER_CA = 4
_READ_SECONDS = 10.0  # for all that a handshake waits for
_WINDOWS_PER_CA = 4  # questions that hang must not take every connection to a CA
#: A name under a wildcard host whose certificate ran out before this is new again.
_LONG_EXPIRED = timedelta(days=30)


class Certificates:
    """Implements Keeper. `listening_at` gives the address of our own TLS listener for the confirmation, or None.

    `spread` waits until all processes that serve know what is in `table`, `board` and `challenges`.
    """

    def __init__(
        self,
        config: Config,
        *,
        table: CertificateTable,
        listening_at: Callable[[], tuple[str, int] | None],
        installed: Callable[[], None],
        traffic: Traffic,
        clock: SteadyClock,
        rng: random.Random,
        spread: Callable[[], Awaitable[None]],
    ) -> None:
        root = self._root = config.cache_directory
        self.board = ChallengeBoard()
        self.memory = Memory(Journal(root / PRIVATE / "journal.sqlite3", clock=clock), clock=clock)
        self.hits = ChallengeHits(self.memory)
        self.challenges = ChallengeTable(clock=clock, arrived=self.hits.by_tls)
        self._table = table
        self._told_installed = installed
        self._clock = clock
        self._dual: set[Hostname] = set()  # hosts with a certificate of each key family
        directory = DirectoryStore(root, clock=clock)
        self.store = CertificateStore(
            directory, clock=clock, told=lambda host, what: self.memory.note("repaired", host, None, reason=what)
        )
        self._orders = PendingOrders(self.store.store)
        place, owner, make = root / PRIVATE / "lease", Owner.this_process(), directory.make_directories
        self.turn = OrderTurn(Lease(place, clock=clock, owner=owner, make_place=make), memory=self.memory)
        turn = Pace(is_serving=traffic.is_flowing, clock=clock).turn
        self._installation = Installation(
            table=table,
            memory=self.memory,
            listening_at=listening_at,
            balancers=Networks(config.listen.proxy_protocol),
            installed=self._installed,
            is_alone=self.is_alone,
            is_managed=lambda lineage: self._fleet.state(lineage) is not None,
            clock=clock,
            turn=turn,
            spread=spread,
        )
        self.own = OwnCertificates(table=table, memory=self.memory, clock=clock)
        self._stand_ins = StandIns(table=table, store=self.store, clock=clock, serving=self.serving)
        self._fleet = Fleet(
            rng=rng,
            registered_domain=registered_domains(),
            orders_per_ca=_ORDERS_PER_CA,
            windows_per_ca=_WINDOWS_PER_CA,
        )
        self.authorities = Authorities(
            store=self.store,
            orders=self._orders,
            solvers=(TlsAlpn01Solver(self.challenges, spread=spread), Http01Solver(self.board, spread=spread)),
            authority=self._authority,
            clock=clock,
            rng=rng,
            dated=clock.dated,
            turn=turn,
            memory=self.memory,
        )
        self.clock_guard = ClockGuard(
            clock, memory=self.memory, ask=self.authorities.ask_time, righted=self._clock_righted
        )
        self.memory.is_time_sure = lambda: self.clock_guard.is_sure
        self._config = config
        self._first: CacheLoad | None = None
        self._first_plans: list[Plan] = []
        self._is_read = asyncio.Event()
        self.on_demand = OnDemand(
            fleet=self._fleet,
            memory=self.memory,
            clock=clock,
            plans_for=self._plans_on_demand,
            manage=lambda plans: self.renewer.add(plans),
            is_served=lambda host: table.certificate(host) is not None,
            dropped=table.remove,
            not_our_turn=lambda: self.turn.reason,
        )
        self.renewer = Renewer(
            fleet=self._fleet,
            store=self.store,
            orders=self._orders,
            memory=self.memory,
            keeper=self,
            policy=self.on_demand,
            turn=self.turn,
            clock=clock,
            is_held=lambda: self.clock_guard.holds,
        )
        self.alarms = Alarms(
            store=self.store.store,
            orders=self._orders,
            memory=self.memory,
            commit=self.renewer.commit,
            installation=self._installation,
            look_again=lambda: self._stand_ins.look_again(self._fleet.lineages()),
            keep_lost=self._keep_lost,
        )
        self._pickup = Pickup(
            store=self.store,
            load=self._found,
            table=table,
            installation=self._installation,
            renewer=self.renewer,
            clock=clock,
        )
        self.names = Names(
            renewer=self.renewer, memory=self.memory, authorities=self.authorities, traffic=traffic, clock=clock
        )

    def open(self) -> None:
        """Prove that the cache keeps what is written, and read the journal. Blocks.

        Raises StoreError when it keeps nothing and has nothing either: what is in it serves, whatever the disk does.
        """
        self.alarms.open()
        self.turn.open(self._orders.open)
        if self.turn.reason is not None:
            self._pickup.remember()
        self.memory.open(is_first=not self.store.has_any() and not self._orders.all())
        self.on_demand.open()
        self.names.open(self._root / PRIVATE)

    async def close(self) -> None:
        """Close the connections to the CAs, keep what the disk did not take before, and write the journal."""
        await self.renewer.commit.save_again()
        await self._keep_lost()
        await self.authorities.close()
        await asyncio.to_thread(self.memory.close)
        await self.turn.end()  # last: who follows reads what we wrote

    async def run(self, before_orders: Callable[[], Awaitable[Sequence[Lineage]]]) -> None:
        """Renew for ever. Ends only by cancellation. `before_orders` ends before the first one, and says which.

        It is called again when another process ordered meanwhile.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.on_demand.run())
            await self._read_first()  # before any order: what the cache has is never ordered
            group.create_task(self._stand_ins.use_others(self._fleet.lineages()))
            for one in (self.clock_guard, self.names, self.alarms, self.own):
                group.create_task(one.run())
            group.create_task(self.renewer.commit.retry())
            if self.turn.reason is None:
                for lineage in await before_orders():
                    self.renewer.wish(lineage, forced=True)
            group.create_task(self.renewer.run())
            group.create_task(self.turn.run(partial(self._take_over, before_orders), self._pickup.look))
            if self.turn.reason is None:
                group.create_task(self.authorities.abandon_all_but(self._fleet.states().keys()))

    async def apply(self, config: Config) -> None:
        """Take care of the names of `config`.

        At the first time the cache is read later, by `run`: nobody has to wait for it who wants to listen.
        """
        if self._first is not None:
            await self._is_read.wait()
        plans = await asyncio.to_thread(plans_of, config)
        await self.authorities.use(config)
        names = await asyncio.to_thread(self._names_on_demand, config) if config.wildcards else set()
        possible = [*plans, *plans_on_demand(config, names)]
        hosts = [plan.lineage.host for plan in possible]  # the plans of one host follow each other
        dual, self._dual = self._dual, {host for host, following in pairwise(hosts) if following is host}
        known = {*self._fleet.lineages()}
        missing = await asyncio.to_thread(lambda: [one for plan in possible if (one := plan.lineage) not in known])
        load = CacheLoad(missing, read=self._load, show=self._show)
        self.own.use(config)
        if self._first is None:
            self._first, self._first_plans = load, plans
            self._use(config, {})
        else:
            await self.own.load()
            read = await load.run()
            self._installation.alone(one.lineage for one in possible if one.lineage.host in dual - self._dual)
            self._stand_ins.regrouped((plan.lineage for plan in possible), set(missing), read)
            await self._manage(config, plans, read)
            await self._stand_ins.use_others(self._fleet.lineages())

    async def cache_read(self, host: Hostname) -> bool:
        """Wait for a bounded time until the cache was read for a name; return whether it was."""
        if self._first is None:
            return True
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await self.own.wait(host)
                is_read = await self._first.wait(host)
                own, now = self._table.certificate(host), self._clock.now()
                if is_read and host in self._config.names and (own is None or own.not_after <= now):
                    await self._stand_ins.wait()
        except TimeoutError:
            return False
        return is_read

    async def ready(self) -> None:
        """Wait until the cache was read."""
        await self._is_read.wait()

    async def _read_first(self) -> None:
        assert self._first is not None, "apply comes first"
        await self.own.load()
        await self._manage(self._config, self._first_plans, await self._first.run())
        self._first_plans = []
        self.on_demand.cache_read()
        keep_all()  # looking through it again and again would stall the loop
        self._is_read.set()
        self._told_installed()

    def _use(self, config: Config, found: Mapping[Lineage, Certificate]) -> list[Plan]:
        on_demand = self._still_on_demand(config, found.values())
        self._config = config
        self._table.keep_only({*config.names, *(plan.lineage.host for plan in on_demand)})
        self.on_demand.use(rules_of(config), on_demand)
        self.names.use(config)
        return on_demand

    async def _manage(self, config: Config, plans: Sequence[Plan], read: Mapping[Lineage, Certificate]) -> None:
        found = {lineage: one for lineage, one in read.items() if one.names >= set(lineage.names)}
        on_demand = self._use(config, found)
        self._stand_ins.use_loaded(plan.lineage for plan in plans)
        self._clock.found(one.validity for one in found.values())
        await self.renewer.manage(
            [*plans, *on_demand],
            self.authorities.issuer,
            found.get,
            lambda new: self.names.begin(one for one in new if one.host in config.names),
        )
        # What was just being installed for a host that is gone may have come back before it was forgotten.
        self._table.keep_only({*config.names, *(name for one in self._fleet.lineages() for name in one.names)})

    async def install(self, lineage: Lineage, certificate: Certificate) -> Installed:
        self.names.confirmed(lineage)
        self._clock.found([certificate.validity])
        return await self._installation.install(lineage, certificate)

    def facts(self, hosts: frozenset[Hostname] | None = None) -> list[Facts]:
        """Return what is known of every lineage and every certificate of the operator's own, or of those of `hosts`."""
        return [*self._stand_ins.mark(self.alarms.mark(self._fleet.facts(hosts))), *self.own.facts(hosts)]

    def serving(self, lineage: Lineage) -> Certificate | None:
        """Return the certificate of this lineage that clients are shown; a lone one's may be of the other family."""
        own = self._table.of_kind(lineage.host, lineage.key_kind)
        return own or (self._table.certificate(lineage.host) if self.is_alone(lineage) else None)

    def _clock_righted(self) -> None:
        self.renewer.clock_righted()
        self.names.clock_righted()

    async def _take_over(self, before_orders: Callable[[], Awaitable[Sequence[Lineage]]]) -> None:
        await self.renewer.read_again()
        self.authorities.forget_accounts()
        self.on_demand.open()
        await self._pickup.look()
        first = await before_orders()
        self.renewer.take_over(self._stand_ins.own)
        for lineage in first:
            self.renewer.wish(lineage, forced=True)
        self.on_demand.cache_read()

    async def _keep_lost(self) -> None:
        """Keep again what this process has to keep: it orders, and nothing else is about to come."""
        if self.turn.reason is not None:
            return
        lineages = [one for one, state in self._fleet.states().items() if not isinstance(state, Ordering)]
        await self.renewer.commit.keep_lost(lineages, self._stand_ins.own)
        await self.authorities.keep_roots()

    def _plans_on_demand(self, host: Hostname) -> list[Plan]:
        plans = plans_on_demand(self._config, [host])
        if len(plans) > 1:
            self._dual.add(host)
        return plans

    def _names_on_demand(self, config: Config) -> set[Hostname]:
        """Return the names under wildcard hosts that may have a certificate, or wait for one. Blocks."""
        return {name for name in hosts_in(self.store.store) | self._remembered() if config.table.pattern(name)}

    def _still_on_demand(self, config: Config, found: Iterable[Certificate]) -> list[Plan]:
        """Return the plans of names under wildcard hosts: those in use, those that wait, and those just found."""
        fresh = (one for one in found if one.not_after > self._clock.now() - _LONG_EXPIRED)
        return plans_on_demand(config, self._remembered().union(*(one.names for one in fresh)))

    def _remembered(self) -> set[Hostname]:
        return {*self.on_demand.names, *self.memory.names()}

    def _show(self, lineage: Lineage, certificate: Certificate) -> bool:
        now, before = self._clock.now(), self._table.certificate(lineage.host)
        if before is not None and certificate.not_after <= now < before.not_after:
            return False  # the host had one of the operator's own until now: it serves on
        try:
            self._installation.show(lineage, certificate)
        except OSError as error:  # ssl.SSLError is an OSError
            _log.error("a certificate of the cache cannot serve", extra={"host": lineage.host, "why": error})
            return False
        return True

    def _found(self, lineages: Iterable[Lineage]) -> list[tuple[Lineage, Certificate]]:
        return [(lineage, one) for lineage, one in self._load(lineages) if one is not None]

    def _load(self, lineages: Iterable[Lineage]) -> Iterator[tuple[Lineage, Certificate | None]]:
        """Read what the cache has, each lineage taken only when it is its turn. Blocks."""
        taken: deque[Lineage] = deque()

        def wanted() -> Iterator[Wanted]:
            for one in lineages:
                taken.append(one)
                yield one.host, families_from(one.key_family) if self.is_alone(one) else (one.key_family,)

        for certificate in self.store.load_all(wanted()):
            lineage = taken.popleft()
            for pending in self._orders.of(lineage):
                if certificate is not None and pending.gave(certificate):  # cut off after it was saved
                    self.memory.keep_given(pending, certificate)
                    self._orders.forget(pending)
            yield lineage, certificate

    def is_alone(self, lineage: Lineage) -> bool:
        """Return whether the host has no certificate with the other kind of key."""
        return lineage.host not in self._dual

    def _installed(self) -> None:
        self._told_installed()
        self.on_demand.review()

    def _authority(self, options: AcmeOptions) -> Authority:
        is_new, now = options.server not in self._fleet.authorities(), self._clock.now()
        authority = self._fleet.allow(options.server, limits_of(options), now)
        if is_new:
            self.memory.recall_authority(authority, now)
        elif self.turn.reason is None:  # else who orders keeps it
            self.memory.keep_authority(authority, now)  # by which limits it is to be read from now on
        return authority
