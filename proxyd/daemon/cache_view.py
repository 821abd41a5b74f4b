"""What the cache tells while no daemon runs: read-only, and whatever is damaged is said, not repaired."""

import random
from collections import Counter
from collections.abc import Mapping

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.config.model import Config
from proxyd.core.clock import Clock
from proxyd.core.clock_watch import ClockWatch, Doubt
from proxyd.core.daily_count import NEW_NAMES, DailyCount
from proxyd.core.fleet import Fleet
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.key_family import families_from
from proxyd.core.lineage import Held, Lineage
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.slots import Slots
from proxyd.core.status import Facts
from proxyd.daemon.ca_limits import limits_of, registered_domains
from proxyd.daemon.on_demand_views import on_demand_views
from proxyd.daemon.own_certificates import facts_of_files
from proxyd.daemon.plans import authorities_of, plans_of, plans_on_demand
from proxyd.issuance.memory import Memory
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import PRIVATE, DirectoryStore
from proxyd.store.journal import Journal
from proxyd.store.journal_reader import JournalReader
from proxyd.store.live_file import live_file
from proxyd.store.store import StoreError
from proxyd.version import RELEASED


class CacheView:
    """The fleet as a daemon that starts now would find it. All methods block on the disk."""

    def __init__(self, config: Config, *, clock: Clock, slots: Slots | None = None) -> None:
        root = config.cache_directory
        path = root / PRIVATE / "journal.sqlite3"
        self.fleet = Fleet(rng=random.Random(0), registered_domain=registered_domains(), slots=slots)
        self._config = config
        self._clock = clock
        self._store = DirectoryStore(root, clock=clock, only_looks=True)
        self._certificates = CertificateStore(self._store, clock=clock)
        self._reader = JournalReader(path)
        self._memory = Memory(Journal(path, clock=clock), clock=clock)  # never opened
        self._damage: dict[Lineage, str] = {}
        self._own: list[Facts] = []

    @property
    def journal_damage(self) -> str | None:
        """Return why there is no history."""
        return self._reader.damage

    def read(self, held: Mapping[Lineage, Held] | None = None) -> None:
        """Look at every schedule, and at every certificate of which `held` does not tell already."""
        now = self._clock.now()
        states = self._reader.states()
        is_first = not states and not self._reader.is_damaged and not self._certificates.has_any()
        is_intact = self._reader.damage is None and not self._reader.is_damaged
        self._memory.recollect(states, is_first=is_first, is_intact=is_intact)
        asked: list[Hostname | HostPattern] = [*self._config.certificate_hosts, *self._config.wildcards]
        for host in asked:
            for options in authorities_of(self._config, host):
                if options.server not in self.fleet.authorities():
                    authority = self.fleet.authority(options.server, limits_of(options))
                    self._memory.recall_authority(authority, now)
        self._own = [*facts_of_files(self._config.own_certificates, now)]
        plans = [*plans_of(self._config), *plans_on_demand(self._config, self._memory.names())]
        kinds = Counter(one.lineage.host for one in plans)
        for lineage in self.fleet.update(plans, now):
            self._memory.recall(self.fleet, lineage, now)
            if held and lineage in held:
                self.fleet.found(lineage, held[lineage], now)
            elif certificate := self._certificate(lineage, is_alone=kinds[lineage.host] == 1):
                self.fleet.found(lineage, self._memory.held(lineage, certificate), now)

    @property
    def doubt(self) -> Doubt | None:
        """Return why a daemon that starts now would not believe the clock."""
        now = self._clock.now()
        watch = ClockWatch(now, 0.0, released=RELEASED)
        watch.found(one.held.validity for one in self.fleet.facts() if one.held)
        return watch.doubt(now, 0.0)

    def facts(self) -> list[Facts]:
        """Return what is known of every lineage, and of every certificate of the operator's own."""
        obtained = [
            Facts(plan=one.plan, state=one.state, held=one.held, damage=self._damage.get(one.plan.lineage))
            for one in self.fleet.facts()
        ]
        return obtained + self._own

    def orders_left(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many orders each CA allows now."""
        return orders_left(self.fleet, self._clock)

    def on_demand(self) -> dict[HostPattern, OnDemandView]:
        """Return what each wildcard host allows."""
        created, now = DailyCount(), self._clock.now()
        created.read_document(self._memory.document(NEW_NAMES), now)
        names = (one.plan.lineage.host for one in self.fleet.facts() if one.plan.on_demand)
        return on_demand_views(self._config, names, created, now)

    def history(self, host: Hostname) -> list[JournalEvent]:
        """Return what happened to a host, oldest first."""
        return self._reader.history(host)

    def _certificate(self, lineage: Lineage, *, is_alone: bool) -> Certificate | None:
        """A host with one certificate keeps one of the other family until the next comes."""
        families = families_from(lineage.key_family) if is_alone else (lineage.key_family,)
        damage, plain = None, lineage.host.text  # which may hold RSA
        for key in dict.fromkeys(file for family in families for file in (live_file(lineage.host, family), plain)):
            try:
                pem = self._store.load(key)
                certificate = Certificate.parse(pem) if pem is not None else None
            except (StoreError, InvalidCertificate) as error:
                damage = damage or f"{lineage.host}: the file in the cache cannot serve: {error}"
                continue
            if certificate is not None and certificate.family in families:
                if certificate.names >= set(lineage.names):
                    return certificate
                damage = damage or f"{lineage.host}: the certificate in the cache is for other names"
        if damage:
            self._damage[lineage] = damage
        return None


def orders_left(fleet: Fleet, clock: Clock) -> Mapping[str, Mapping[str, int]]:
    """Return how many orders each CA with known limits allows now."""
    now = clock.now()
    return {name: one.ledger.available(now) for name, one in fleet.authorities().items() if one.ledger}
