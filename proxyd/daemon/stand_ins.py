"""A name without a valid certificate of its own is served by another one that covers it, until it has one."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from proxyd.certs.certificate import Certificate
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.status import Facts
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.store import StoreError
from proxyd.tls.certificate_table import CertificateTable

_log = logging.getLogger("proxyd.certificates")


class StandIns:
    """Finds what serves after names were grouped otherwise. A certificate of its own is due all the same."""

    def __init__(
        self,
        *,
        table: CertificateTable,
        store: CertificateStore,
        clock: Clock,
        serving: Callable[[Lineage], Certificate | None],
    ) -> None:
        self._table = table
        self._store = store
        self._clock = clock
        self._serving = serving
        self._used: dict[Hostname, Certificate] = {}
        self._looked = asyncio.Event()

    def holds(self, host: Hostname, certificate: Certificate) -> bool:
        """Return whether the certificate only stands in for one of the host."""
        return self._used.get(host) == certificate

    def own(self, lineage: Lineage) -> Certificate | None:
        """Return what serves, if it is a certificate of this lineage and no other one that covers its host."""
        one = self._serving(lineage)
        is_own = one is not None and not self.holds(lineage.host, one) and one.names >= set(lineage.names)
        return one if is_own else None

    def mark(self, facts: Iterable[Facts]) -> list[Facts]:
        """Return the facts with what stands in."""
        return [self._marked(one) for one in facts]

    def regrouped(
        self, lineages: Iterable[Lineage], new: Collection[Lineage], read: Mapping[Lineage, Certificate]
    ) -> None:
        """Remember what serves the `new` ones of the lineages since before, and is not what was `read` for them."""
        hosts, own = {one.host for one in new}, {(one.host, certificate.leaf) for one, certificate in read.items()}
        known = {(one.host, one.key_family) for one in lineages if one.host in hosts and one not in new}
        for lineage in new:
            for name in lineage.names:
                for one in filter(self._is_valid, self._table.certificates(name)):
                    if (lineage.host, one.leaf) not in own and (lineage.host, one.family) not in known:
                        self._used[name] = one

    def use_loaded(self, lineages: Iterable[Lineage]) -> None:
        """Look through what serves already."""
        if wanted := self._without(lineages):
            self._show(_covering(self._table.all(), wanted))

    async def use_others(self, lineages: Collection[Lineage]) -> None:
        """Look through what the cache has of hosts that are no host of `lineages`."""
        try:
            if wanted := self._without(lineages):
                known = {lineage.host for lineage in lineages}
                found = await asyncio.to_thread(lambda: [one for _, one in self._store.of_others(known)])
                self._show(_covering(found, wanted & self._without(lineages)))
        except StoreError as error:
            _log.error("the cache cannot be looked through", extra={"reason": str(error)})
        finally:
            self._looked.set()

    async def wait(self) -> None:
        """Wait until the cache was looked through once."""
        await self._looked.wait()

    async def look_again(self, lineages: Collection[Lineage]) -> None:
        """Replace what stood in and ran out; where nothing else covers the name it is refused."""
        over = {
            name: one
            for name, one in self._used.items()
            if not self._is_valid(one) and self._table.certificates(name) == (one,)
        }
        if not over:
            return
        self.use_loaded(one for one in lineages if not over.keys().isdisjoint(one.names))
        await self.use_others(lineages)
        for name, one in over.items():
            if self._table.certificates(name) == (one,):
                _log.error("what served it ran out, and nothing else covers it", extra={"host": name})
                self._table.remove(name)
                self._used.pop(name, None)

    def _without(self, lineages: Iterable[Lineage]) -> set[Hostname]:
        return {
            name
            for lineage in lineages
            for name in lineage.names
            if not any(self._is_valid(one) for one in self._table.certificates(name))
        }

    def _show(self, found: Mapping[Hostname, list[Certificate]]) -> None:
        for name, certificates in found.items():
            valid = [one for one in certificates if self._is_valid(one)]
            best = max(valid, key=lambda one: (one.not_before, one.not_after), default=None)
            if best is None:
                continue
            try:
                self._table.put(name, [best])
            except OSError as error:  # ssl.SSLError is an OSError
                _log.error("a certificate of the cache cannot serve", extra={"host": name, "why": error})
                continue
            self._used[name] = best
            fields = {"serial": f"{best.serial:x}", "not_after": best.not_after}
            _log.warning("served with another certificate until it has its own", extra={"host": name, **fields})

    def _is_valid(self, certificate: Certificate) -> bool:
        return certificate.not_before <= self._clock.now() < certificate.not_after

    def _marked(self, facts: Facts) -> Facts:
        host = facts.plan.lineage.host
        used = self._used.get(host)
        if used is None or used not in self._table.certificates(host):
            self._used.pop(host, None)
            return facts
        return replace(facts, stand_in_until=used.not_after)


def _covering(certificates: Iterable[Certificate], wanted: Collection[Hostname]) -> dict[Hostname, list[Certificate]]:
    """Return which of the certificates cover each of the names."""
    by_name: dict[Hostname, list[Certificate]] = {}
    for certificate in certificates:
        for name in certificate.names:
            by_name.setdefault(name, []).append(certificate)
    found = {}
    for name in wanted:
        parent = Hostname(f"*.{name.text.partition('.')[2]}")
        covering = [one for one in (*by_name.get(name, ()), *by_name.get(parent, ())) if one.covers(name)]
        if covering:
            found[name] = covering
    return found
