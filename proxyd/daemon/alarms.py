"""What serves and yet needs a person: certificates that are not kept or not confirmed, a cache that takes nothing."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from itertools import count

from proxyd.core.alarm import Alarm
from proxyd.core.lineage import Lineage
from proxyd.core.status import Facts
from proxyd.daemon.installation import Installation
from proxyd.issuance.commit import Commit
from proxyd.issuance.memory import Memory
from proxyd.issuance.pace import at_once
from proxyd.store.pending_orders import PendingOrders
from proxyd.store.store import Store, StoreError

_log = logging.getLogger("proxyd.certificates")
_LOOK_SECONDS = 60.0
#: A cache that took everything is proved again so rarely; one in trouble at every look.
_LOOKS_AT_REST = 10
_CACHE_TO_DO = "Do what the text says: until then nothing is ordered, because it could not be kept. It is tried again."


class Alarms:
    """Each lasts as long as its reason: all are looked at again every minute, `look_again` with them."""

    def __init__(
        self,
        *,
        store: Store,
        orders: PendingOrders,
        memory: Memory,
        commit: Commit,
        installation: Installation,
        look_again: Callable[[], Awaitable[None]] = at_once,
        keep_lost: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._store = store
        self._orders = orders
        self._memory = memory
        self._commit = commit
        self._installation = installation
        self._look_again = look_again
        self._keep_lost = keep_lost
        self._told: str | None = None
        self._others: list[Callable[[], Iterable[tuple[Lineage, Alarm]]]] = []

    def add(self, others: Callable[[], Iterable[tuple[Lineage, Alarm]]]) -> None:
        """Ask for these, too."""
        self._others.append(others)

    def recall(self, lineages: Iterable[Lineage]) -> None:
        """Look again soon at certificates that were not confirmed before the start."""
        self._installation.doubt(lineages)

    @property
    def cache(self) -> Alarm | None:
        """Return what is wrong with the cache as a whole."""
        reason = self._store.trouble or self._orders.trouble or self._memory.trouble
        return Alarm(reason=reason, to_do=_CACHE_TO_DO) if reason else None

    def mark(self, facts: Iterable[Facts]) -> list[Facts]:
        """Return the facts with the alarms of each lineage."""
        found: defaultdict[Lineage, list[Alarm]] = defaultdict(list)
        for alarms in (self._commit.alarms, self._installation.alarms, *self._others):
            for lineage, alarm in alarms():
                found[lineage].append(alarm)
        return [
            replace(one, alarms=tuple(found[one.plan.lineage])) if one.plan.lineage in found else one for one in facts
        ]

    def open(self) -> None:
        """Prove that the cache keeps what is written. Blocks.

        Raises StoreError when it keeps nothing and has nothing either: what is in it serves, whatever the disk does.
        """
        try:
            self._store.probe()
        except StoreError as error:
            if not self._store.names():
                raise
            self._tell(str(error))

    async def run(self) -> None:
        """Look again for ever. Ends only by cancellation."""
        for number in count(1):
            await asyncio.sleep(_LOOK_SECONDS)
            if self._told or self._store.trouble or number % _LOOKS_AT_REST == 0:
                await self._probe()
            await self._keep_lost()
            await self._look_again()
            await self._installation.look_again()

    async def _probe(self) -> None:
        try:
            await asyncio.to_thread(self._store.probe)
        except StoreError as error:
            self._tell(str(error))
        else:
            self._tell(None)

    def _tell(self, reason: str | None) -> None:
        if (reason is None) == (self._told is None):
            return
        self._told = reason
        if reason is None:
            _log.warning("the cache can be written again")
            self._memory.note("cache writable", None, None)
        else:
            _log.error("the cache serves as it is, but nothing can be kept and ordered", extra={"reason": reason})
            self._memory.note("cache not writable", None, None, reason=reason)
