"""Serves what another process put into the cache."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence

from proxyd.certs.certificate import Certificate
from proxyd.core.clock import Clock
from proxyd.core.lineage import Lineage
from proxyd.daemon.installation import Installation
from proxyd.issuance.renewer import Renewer
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.live_file import host_of
from proxyd.store.store import StoreError
from proxyd.tls.certificate_table import CertificateTable

_log = logging.getLogger("proxyd.certificates")
_Stamps = dict[str, tuple[int, ...]]
Load = Callable[[Sequence[Lineage]], list[tuple[Lineage, Certificate]]]


class Pickup:
    """Looks for files that changed, and serves them when they are better than what serves now."""

    def __init__(
        self,
        *,
        store: CertificateStore,
        load: Load,
        table: CertificateTable,
        installation: Installation,
        renewer: Renewer,
        clock: Clock,
    ) -> None:
        self._store = store
        self._load = load
        self._table = table
        self._installation = installation
        self._renewer = renewer
        self._clock = clock
        self._stamps: _Stamps = {}
        self._trouble: str | None = None

    def remember(self) -> None:
        """Take what lies there now as known: it is about to be loaded. Blocks."""
        try:
            self._stamps = self._store.store.stamps() or self._stamps
        except StoreError:
            self._stamps = {}

    async def look(self) -> None:
        """Serve what changed since the last look."""
        try:
            stamps = await asyncio.to_thread(self._store.store.stamps)
        except StoreError as error:
            if str(error) != self._trouble:
                _log.error("the cache cannot be looked at for new certificates", extra={"reason": str(error)})
            self._trouble = str(error)
            return
        self._trouble = None
        if stamps is None:
            return
        changed = {host_of(key) for key, stamp in stamps.items() if self._stamps.get(key) != stamp}
        self._stamps = stamps
        lineages = [one for one in self._renewer.fleet.states() if one.host in changed]
        if lineages:
            await self.serve(lineages)

    async def serve(self, lineages: Sequence[Lineage]) -> None:
        """Serve what the cache has for these, when it is better."""
        for lineage, certificate in await asyncio.to_thread(self._load, lineages):
            if await self._is_better(lineage, certificate):
                try:
                    self._installation.show(lineage, certificate)
                except (ssl.SSLError, OSError) as error:
                    _log.error("a certificate of the cache cannot serve", extra={"host": lineage.host, "why": error})
                    continue
                self._renewer.found(lineage, certificate)
                fields = {"serial": f"{certificate.serial:x}", "not_after": certificate.not_after}
                _log.info("picked up from the cache", extra={"host": lineage.host, **fields})

    async def _is_better(self, lineage: Lineage, certificate: Certificate) -> bool:
        served = self._table.certificates(lineage.host)
        if any(one.leaf == certificate.leaf for one in served):
            return False
        same = next((one for one in served if one.family == certificate.family), None)
        if same is None or self._rank(certificate) > self._rank(same):
            return True
        return await asyncio.to_thread(self._store.is_condemned, same)

    def _rank(self, certificate: Certificate) -> tuple[object, ...]:
        now = self._clock.now()
        return certificate.not_before <= now < certificate.not_after, certificate.not_before, certificate.not_after
