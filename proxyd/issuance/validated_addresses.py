"""The addresses that a name had when the CA last validated it: the measure of whether it has left us."""

import asyncio

from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.issuance.memory import Memory
from proxyd.issuance.resolver import DnsError, Resolver


class ValidatedAddresses:
    """Looks a name up soon after its validation, and remembers."""

    def __init__(self, *, resolver: Resolver, memory: Memory, clock: Clock) -> None:
        self._resolver = resolver
        self._memory = memory
        self._clock = clock
        self._known: dict[Hostname, tuple[str, ...]] = {}
        self._waiting: dict[Hostname, None] = {}
        self._arrived = asyncio.Event()

    def note(self, lineage: Lineage) -> None:
        """Say that the CA has just validated the names. Returns at once."""
        self._waiting.update(dict.fromkeys(name for name in lineage.names if not name.text.startswith("*")))
        self._arrived.set()

    def of(self, name: Hostname) -> tuple[str, ...]:
        """Return the addresses; empty when they are not known."""
        if name not in self._known:
            found = self._memory.document(f"validated {name}").get("addresses")
            self._known[name] = tuple(str(one) for one in found) if isinstance(found, list) else ()
        return self._known[name]

    async def run(self) -> None:
        """Look up what was noted, for ever. Ends only by cancellation."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            name = next(iter(self._waiting))
            del self._waiting[name]
            try:
                addresses = await self._resolver.addresses(name)
            except DnsError:
                continue  # what was known before stays the measure
            self._known[name] = addresses
            self._memory.keep_document(f"validated {name}", {"addresses": addresses, "at": self._clock.now()})
