"""One look at a name as the world sees it: DNS through our resolver, then its port 80."""

import asyncio
import ipaddress
from dataclasses import dataclass

from proxyd.core.caa import CaaRecord
from proxyd.core.hostname import Hostname
from proxyd.core.name_view import NameView, Port80, Reached
from proxyd.issuance.resolver import DnsError, Resolver
from proxyd.issuance.self_check import SelfCheck

_MOST_OF_A_FAMILY = 2


@dataclass(frozen=True, slots=True)
class Vantage:
    """How the CA of a host looks at it: by which port (None: not by HTTP), and whether it is a public one."""

    port: int | None = 80
    is_public: bool = True


class NameLook:
    """Looks. Keeps nothing."""

    def __init__(self, resolver: Resolver, self_check: SelfCheck) -> None:
        self._resolver = resolver
        self._self_check = self_check

    async def look(self, name: Hostname, vantage: Vantage) -> NameView:
        """Return what is seen of `name`. Never raises for what the network does."""
        addresses: tuple[str, ...] | None = None
        caa: tuple[CaaRecord, ...] | None = None
        trouble: str | None = None
        try:
            addresses, trouble = await self._resolver.look_up(name)
            caa = await self._resolver.caa(name)
        except DnsError as error:
            trouble = "; ".join([*([trouble] if trouble else ()), str(error)])
        reached = await self._reached(name, addresses or (), vantage)
        return NameView(addresses=addresses, caa=caa, reached=reached, trouble=trouble)

    async def _reached(self, name: Hostname, addresses: tuple[str, ...], vantage: Vantage) -> tuple[Reached, ...]:
        """Ask at two addresses of each family: whoever writes the DNS must not choose how much we connect."""
        if vantage.port is None:
            return ()
        families: dict[int, list[str]] = {4: [], 6: []}
        found = []
        for address in addresses:
            parsed = ipaddress.ip_address(address)
            if vantage.is_public and not parsed.is_global:
                # No public CA goes there, and what stands behind it is none of our business.
                found.append(Reached(address, Port80.UNKNOWN, "not an address of the public Internet"))
            else:
                families[parsed.version].append(address)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._self_check.ask(name, address, vantage.port))
                for family in families.values()
                for address in family[:_MOST_OF_A_FAMILY]
            ]
        return tuple(sorted([*found, *(task.result() for task in tasks)], key=lambda one: one.address))
