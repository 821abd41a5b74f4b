"""Our own DNS look-ups: addresses and CAA records, from the configured servers or the system's, from nobody else."""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.CAA import CAA
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from proxyd.config.values import DnsServerAddress
from proxyd.core.caa import CaaRecord
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname

_SECONDS = 2.0  # for one server
_MOST_SERVERS = 3
#: Seconds between two packets to all servers together: 20 a second, with a little to spare for timers.
_PACE = 0.051
_KEEP_SECONDS = 5.0  # names of one domain share its records in one round; a user's mend is seen in the next
_KEEP_ANSWERS = 2000
_SYSTEM_SECONDS = 30.0
_MOST_RECORDS = 32
_MOST_TEXT = 256
_ABSENT = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


class DnsError(Exception):
    """No server gave an answer; the text says which and why."""


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float
    outcome: tuple[str, ...] | DnsError


class Resolver:
    """Asks at most 20 times a second in all. `servers` may be replaced at any time; empty: the system's."""

    def __init__(self, *, clock: Clock, system: Callable[[], Sequence[DnsServerAddress]] | None = None) -> None:
        self.servers: Sequence[DnsServerAddress] = ()
        self._clock = clock
        self._read_system = system or system_servers
        self._system: tuple[float, Sequence[DnsServerAddress]] | None = None
        self._next = 0.0
        self._kept: dict[tuple[str, dns.rdatatype.RdataType], _Kept] = {}

    async def addresses(self, name: Hostname) -> tuple[str, ...]:
        """Return the IPv4 and IPv6 addresses, sorted; empty when the name has none. Raises DnsError.

        One question without an answer hides nothing that the other found.
        """
        return (await self.look_up(name))[0]

    async def look_up(self, name: Hostname) -> tuple[tuple[str, ...], str | None]:
        """Return what `addresses` does, and which question got no answer.

        Raises DnsError when no address was found and a question got no answer: CAs do the same.
        """
        if name.is_ip_address:
            return (name.text,), None
        async with asyncio.TaskGroup() as group:
            kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
            tasks = [group.create_task(self._outcome(name.text, kind)) for kind in kinds]
        outcomes = [task.result() for task in tasks]
        troubles = [str(one) for one in outcomes if isinstance(one, DnsError)]
        found = {address for one in outcomes if not isinstance(one, DnsError) for address in one}
        if troubles and not found:
            raise DnsError("; ".join(troubles))
        return tuple(sorted(found)), next(iter(troubles), None)

    async def caa(self, name: Hostname) -> tuple[CaaRecord, ...]:
        """Return the CAA records that count for the name: its own, or its nearest parent's (RFC 8659 §3).

        Sorted; empty when there are none up to the top-level domain. Raises DnsError.
        """
        labels = [] if name.is_ip_address else name.text.removeprefix("*.").split(".")
        for depth in range(len(labels)):
            if found := await self._ask(".".join(labels[depth:]), dns.rdatatype.CAA):
                return tuple(sorted(record for text in found if (record := CaaRecord.parse(text))))
        return ()

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[str, ...]:
        outcome = await self._outcome(name, kind)
        if isinstance(outcome, DnsError):
            raise DnsError(str(outcome))
        return outcome

    async def _outcome(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[str, ...] | DnsError:
        kept = self._kept.get((name, kind))
        if kept is None or kept.until <= self._clock.monotonic():
            try:
                outcome: tuple[str, ...] | DnsError = await self._ask_servers(name, kind)
            except DnsError as error:
                outcome = error
            self._kept.pop((name, kind), None)
            kept = self._kept[name, kind] = _Kept(self._clock.monotonic() + _KEEP_SECONDS, outcome)
            while len(self._kept) > _KEEP_ANSWERS:
                del self._kept[next(iter(self._kept))]
        return kept.outcome

    async def _ask_servers(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[str, ...]:
        troubles = []
        for server in (await self._servers())[:_MOST_SERVERS]:
            try:
                query = dns.message.make_query(dns.name.from_text(name + "."), kind)
                return _records(await self._exchange(query, server), kind)
            except (dns.exception.Timeout, TimeoutError):
                troubles.append(f"{server} did not answer within {_SECONDS:.0f} s")
            except (DnsError, dns.exception.DNSException, OSError, EOFError, ValueError) as error:
                troubles.append(f"{server}: {_text(str(error)) or type(error).__name__}")
        reason = "; ".join(troubles) or "/etc/resolv.conf names no DNS server: set `resolvers`"
        raise DnsError(f"no answer for {kind.name} of {name} ({reason})")

    async def _exchange(self, query: dns.message.Message, server: DnsServerAddress) -> dns.message.Message:
        """What does not belong to the query is ignored: anybody can send us a datagram.

        The deadlines are ours: dnspython's use `asyncio.wait_for`, which loses a cancellation that comes together with
        the answer (Python 3.11), and a stop of the daemon with it.
        """
        await self._turn()
        async with asyncio.timeout(_SECONDS):
            answer = await dns.asyncquery.udp(
                query, server.address, None, server.port, ignore_unexpected=True, ignore_errors=True
            )
        if answer.flags & dns.flags.TC:
            await self._turn()
            async with asyncio.timeout(_SECONDS):
                answer = await dns.asyncquery.tcp(query, server.address, None, server.port)
        if answer.rcode() not in _ABSENT:
            raise DnsError(dns.rcode.to_text(answer.rcode()))
        return answer

    async def _turn(self) -> None:
        now = self._clock.monotonic()
        mine = max(self._next, now)
        self._next = mine + _PACE
        await asyncio.sleep(mine - now)

    async def _servers(self) -> Sequence[DnsServerAddress]:
        if self.servers:
            return self.servers
        now = self._clock.monotonic()
        if self._system is None or now >= self._system[0] + _SYSTEM_SECONDS:
            self._system = now, await asyncio.to_thread(self._read_system)
        return self._system[1]


def system_servers() -> list[DnsServerAddress]:
    """Return the servers in /etc/resolv.conf; none when it cannot be read. Blocks."""
    try:
        found = dns.resolver.Resolver()
    except (dns.exception.DNSException, OSError, ValueError):
        return []
    return [DnsServerAddress(address, 53) for address in found.nameservers if isinstance(address, str)]


def _records(answer: dns.message.Message, kind: dns.rdatatype.RdataType) -> tuple[str, ...]:
    """Return the values at the end of the chain of aliases."""
    if not isinstance(answer, dns.message.QueryMessage) or answer.rcode() == dns.rcode.NXDOMAIN:
        return ()
    found = answer.resolve_chaining().answer
    values = [text for one in found or () if (text := _value(one, kind))]
    return tuple(sorted(values)[:_MOST_RECORDS])


def _value(record: dns.rdata.Rdata, kind: dns.rdatatype.RdataType) -> str | None:
    match record:
        case A() | AAAA() if record.rdtype == kind:
            return ipaddress.ip_address(record.address).compressed
        case CAA():
            tag = _text(record.tag.decode("ascii", "replace").lower())
            return str(CaaRecord(record.flags, tag, _text(record.value.decode("utf-8", "replace"))))
        case _:
            return None


def _text(text: str) -> str:
    """One printable line: the owner of any domain writes it."""
    return "".join(char if char.isprintable() else " " for char in text[:_MOST_TEXT])
