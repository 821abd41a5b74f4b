"""Keeps a new certificate on disk and puts it to use, however often this machine has to be asked for that."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from proxyd.certs.certificate import Certificate
from proxyd.core.alarm import Alarm
from proxyd.core.lineage import Held, Lineage
from proxyd.core.renewal import begins_later, renew_at
from proxyd.core.trouble import TroubleKind
from proxyd.issuance.issuer import Issuer
from proxyd.issuance.keeper import Installed, Keeper, NoRoom, Serving, TakenBack
from proxyd.issuance.memory import Memory
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.live_file import live_file
from proxyd.store.pending_orders import PendingOrders
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.renewer")
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class _Delayed:
    """A certificate with which something is still to be done, and why it was not."""

    certificate: Certificate
    reason: str


class Commit:
    """What the disk did not take serves from memory and is tried again; what clients must not see is taken back."""

    def __init__(
        self,
        *,
        store: CertificateStore,
        orders: PendingOrders,
        memory: Memory,
        keeper: Keeper,
        issuer_of: Callable[[Lineage, str], Issuer | None],
    ) -> None:
        self._store = store
        self._orders = orders
        self._memory = memory
        self._keeper = keeper
        self._issuer_of = issuer_of
        self._unsaved: dict[Lineage, _Delayed] = {}
        self._unused: dict[Lineage, _Delayed] = {}

    def alarms(self) -> Iterator[tuple[Lineage, Alarm]]:
        """Return what this machine does not take."""
        for lineage, delayed in self._unused.items():
            yield (
                lineage,
                Alarm(
                    reason=f"the new certificate does not serve yet: {delayed.reason}",
                    to_do="Give this machine what it lacks; it is tried again at least every minute.",
                    kind=TroubleKind.NOT_IN_USE,
                ),
            )
        for lineage, delayed in self._unsaved.items():
            yield (
                lineage,
                Alarm(
                    reason=f"the certificate that serves is in memory only, a restart loses it: {delayed.reason}",
                    to_do="Do what the text says before the daemon ends; saving is tried again at least every minute.",
                ),
            )

    async def keep(self, lineage: Lineage, certificate: Certificate, held: Held) -> None:
        """Save it, and which CA gave it."""
        self._memory.keep_held(lineage, held)
        await self._save(lineage, certificate)

    async def use(self, lineage: Lineage, certificate: Certificate, before: Held | None) -> Installed:
        """Serve it; `before`: what is known of the one that serves until now."""
        outcome = await self._keeper.install(lineage, certificate)
        self._unused.pop(lineage, None)
        match outcome:
            case TakenBack():
                await self._take_back(lineage, certificate, outcome, before)
            case NoRoom(reason=reason):
                self._unused[lineage] = _Delayed(certificate, reason)
            case Serving():
                self._memory.renewals.served(lineage, certificate, before)
        return outcome

    async def pick_up(self, lineage: Lineage, before: Held | None, now: datetime) -> Certificate | None:
        """Serve what another program put into the cache meanwhile, when it makes an order needless; return it."""
        found = await asyncio.to_thread(self._store.load, lineage.host, [lineage.key_family])
        if found is None or not found.names >= set(lineage.names):
            return None
        validity = found.validity
        serves = before is not None and not begins_later(before.validity, now)
        is_newer = before is None or not serves or validity.not_before > before.validity.not_before
        if not is_newer or begins_later(validity, now) or now >= renew_at(validity, None, 0):
            return None
        if not isinstance(await self._keeper.install(lineage, found), Serving):
            return None
        _log.info("picked up from the cache instead of an order", extra={"host": lineage.host})
        self._memory.note("picked up", lineage.host, None, serial=f"{found.serial:x}")
        return found

    async def end_orders(self, lineage: Lineage, certificate: Certificate) -> None:
        """Forget the order that gave the certificate once it is safe; what was ordered elsewhere is wanted no more."""
        for pending in self._orders.of(lineage):
            issuer = self._issuer_of(lineage, pending.issuer)
            if pending.gave(certificate):
                if lineage not in self._unsaved:
                    await asyncio.to_thread(self._orders.forget, pending)
            elif issuer is not None:
                await issuer.abandon(pending)

    async def abandon_orders(self, lineage: Lineage) -> None:
        """Leave no order of a lineage, at its CA or in the cache."""
        for pending in self._orders.of(lineage):
            if issuer := self._issuer_of(lineage, pending.issuer):
                await issuer.abandon(pending)
            else:
                await asyncio.to_thread(self._orders.forget, pending)

    def forget(self, lineage: Lineage) -> None:
        """Try no more for a lineage."""
        self._unsaved.pop(lineage, None)
        self._unused.pop(lineage, None)

    async def retry(self) -> None:
        """Try again and again to keep and to use what this machine did not take. Ends only by cancellation."""
        pause = _FIRST_RETRY_SECONDS
        while True:
            await asyncio.sleep(pause)
            is_waiting = bool(self._unsaved or self._unused)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS) if is_waiting else _FIRST_RETRY_SECONDS
            for lineage, delayed in list(self._unsaved.items()):
                await self._save(lineage, delayed.certificate)
                await self.end_orders(lineage, delayed.certificate)
            for lineage, delayed in list(self._unused.items()):
                await self.use(lineage, delayed.certificate, None)

    async def save_again(self) -> None:
        """Try once more to keep what the disk did not take: the process ends."""
        for lineage, delayed in list(self._unsaved.items()):
            await self._save(lineage, delayed.certificate)

    async def keep_lost(self, lineages: Iterable[Lineage], own: Callable[[Lineage], Certificate | None]) -> None:
        """Keep again what serves of these, by `own`, and somebody took out of the cache."""
        try:
            there = {*await asyncio.to_thread(self._store.store.names)}
        except StoreError:
            return
        gone = [one for one in lineages if live_file(one.host, one.key_family) not in there]
        for lineage in gone:
            certificate = own(lineage)  # of a lone lineage it may be of the other family
            if certificate is None or lineage in self._unsaved or live_file(lineage.host, certificate.family) in there:
                continue
            if not await asyncio.to_thread(self._store.is_condemned, certificate):
                _log.warning("the certificate's file had gone from the cache", extra={"host": lineage.host})
                self._unsaved[lineage] = _Delayed(certificate, "its file had gone from the cache")
                await self._save(lineage, certificate)

    async def _save(self, lineage: Lineage, certificate: Certificate) -> None:
        try:
            await asyncio.to_thread(self._store.save, lineage.host, certificate)
        except StoreError as error:
            known = self._unsaved.get(lineage)
            if known is None or known.certificate != certificate:
                _log.error(
                    "the new certificate serves, but could not be kept: saving is tried again, at least every minute",
                    extra={"host": lineage.host, "reason": str(error)},
                )
                self._memory.note("not kept", lineage.host, None, reason=str(error))
            self._unsaved[lineage] = _Delayed(certificate, str(error))
        else:
            if self._unsaved.pop(lineage, None) is not None:
                _log.info("the certificate is kept now", extra={"host": lineage.host})
                self._memory.note("kept", lineage.host, None)

    async def _take_back(
        self, lineage: Lineage, certificate: Certificate, outcome: TakenBack, before: Held | None
    ) -> None:
        """Never load it again; the previous one lies in its place once more."""
        self._unsaved.pop(lineage, None)
        if before is not None:
            self._memory.keep_held(lineage, before)
        try:
            await asyncio.to_thread(self._store.condemn, lineage.host, certificate, outcome.reason)
        except StoreError as error:
            _log.error(
                "the certificate that was taken back could not be marked on disk",
                extra={"host": lineage.host, "reason": str(error), "next": "repair the cache before the next start"},
            )
        self._memory.note("taken back", lineage.host, None, serial=f"{certificate.serial:x}", reason=outcome.reason)
