"""Puts a new certificate to use, looks that clients see it, and puts the previous one back when they see another."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from proxyd.certs.certificate import Certificate
from proxyd.core.alarm import Alarm
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.networks import NOBODY, Networks
from proxyd.core.trouble import TroubleKind
from proxyd.daemon.handshake_check import PATIENCE, Seen, look, place
from proxyd.issuance.keeper import Installed, NoRoom, Serving, TakenBack
from proxyd.issuance.memory import Memory
from proxyd.issuance.pace import at_once
from proxyd.tls.certificate_table import CertificateTable

_log = logging.getLogger("proxyd.certificates")
#: Another process on our port that reads the same cache needs a moment to notice the new certificate.
_LOOK_AGAIN = timedelta(seconds=1)
_LOOKS = 10

_Before = Mapping[Hostname, Sequence[Certificate]]


class Installation:
    """Implements Keeper. `listening_at` gives the address of our own TLS listener for the confirmation, or None.

    `is_alone` tells whether a lineage's certificate is the host's only one; `is_managed`, whether a reload has left it:
    else nothing is installed; `look_again` is the pause between two
    looks at the listener, each of which ends after `patience` seconds; `turn` is awaited before each piece of the work;
    `spread` waits until all processes that serve have what is in the table.
    """

    def __init__(
        self,
        *,
        table: CertificateTable,
        memory: Memory,
        listening_at: Callable[[], tuple[str, int] | None],
        installed: Callable[[], None],
        is_alone: Callable[[Lineage], bool],
        clock: Clock,
        balancers: Networks = NOBODY,
        is_managed: Callable[[Lineage], bool] = lambda _: True,
        look_again: timedelta = _LOOK_AGAIN,
        patience: float = PATIENCE,
        turn: Callable[[], Awaitable[None]] = at_once,
        spread: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._table = table
        self._memory = memory
        self._listening_at = listening_at
        self._balancers = balancers
        self._installed = installed
        self._is_alone = is_alone
        self._is_managed = is_managed
        self._clock = clock
        self._look_again = look_again
        self._patience = patience
        self._turn = turn
        self._spread = spread
        self._unconfirmed: dict[Lineage, str] = {}

    def alarms(self) -> Iterator[tuple[Lineage, Alarm]]:
        """Return which certificates serve although nobody knows that clients see them."""
        for lineage, reason in self._unconfirmed.items():
            yield (
                lineage,
                Alarm(
                    reason=f"the certificate is not confirmed, clients may see another one or none: {reason}",
                    to_do="Look at what the text names (`openssl s_client` or a browser shows what clients "
                    "see); it is looked at again every minute.",
                    kind=TroubleKind.SELF_HANDSHAKE_FAILED,
                ),
            )

    def doubt(self, lineages: Iterable[Lineage]) -> None:
        """Look again soon at what was not confirmed before the start."""
        for lineage in lineages:
            self._unconfirmed.setdefault(lineage, "it was not when proxyd was started")

    async def look_again(self) -> None:
        """End the alarms whose reason has gone: clients see the certificate now."""
        for lineage in list(self._unconfirmed):
            serving, address = self._table.of_kind(lineage.host, lineage.key_kind), self._address(lineage)
            if serving is None or address is None:  # the host was removed, or we listen elsewhere
                self._unconfirmed.pop(lineage, None)
                continue
            seen, reason = await self._look(address, lineage, serving)
            if lineage not in self._unconfirmed or serving != self._table.of_kind(lineage.host, lineage.key_kind):
                continue  # replaced meanwhile
            if seen is Seen.RIGHT:
                _log.info("the certificate is confirmed now", extra={"host": lineage.host})
                self._confirmed(lineage, serving)
            else:
                self._unconfirmed[lineage] = _trouble(address, seen, reason)

    async def _look(self, address: tuple[str, int], lineage: Lineage, certificate: Certificate) -> tuple[Seen, str]:
        return await look(address, lineage.host, certificate, balancers=self._balancers, seconds=self._patience)

    def show(self, lineage: Lineage, certificate: Certificate) -> None:
        """Serve `certificate` for the names of the lineage that it covers. Raises ssl.SSLError, OSError."""
        for name in lineage.names:
            if certificate.covers(name):
                self._table.put(name, self._beside(lineage, certificate, self._table.certificates(name)))

    def alone(self, lineages: Iterable[Lineage]) -> None:
        """Serve hosts that had two kinds of keys with the one of the lineage alone, where it is valid."""
        now = self._clock.now()
        for lineage in lineages:
            own = self._table.of_kind(lineage.host, lineage.key_kind)
            if own is not None and own.not_before <= now < own.not_after:
                self.show(lineage, own)

    async def install(self, lineage: Lineage, certificate: Certificate) -> Installed:
        await self._turn()
        before = {name: self._table.certificates(name) for name in lineage.names}
        self._unconfirmed.pop(lineage, None)

        def wanted(others: Sequence[Certificate]) -> Sequence[Certificate]:
            return self._beside(lineage, certificate, others) if self._is_managed(lineage) else ()

        try:
            for name in filter(certificate.covers, lineage.names):
                await self._table.change(name, wanted)
            wrong = [name for name in lineage.names if not await self._table.confirm(name, certificate)]
        except ssl.SSLError as error:
            return self._take_back(lineage, certificate, before, f"OpenSSL rejects the new certificate: {error}")
        except OSError as error:
            self._restore(certificate, before)
            reason = f"this machine has no room for it now: {error.strerror}; what served before serves on"
            self._tell(lineage, reason)
            return NoRoom(reason=reason)
        if not self._is_managed(lineage):
            return Serving()  # nobody, and that is right
        if wrong:
            reason = f"a handshake in memory for {wrong[0]} showed another certificate"
            return self._take_back(lineage, certificate, before, reason)
        await self._spread()
        self._installed()
        return await self._confirm(lineage, certificate, before)

    def _beside(
        self, lineage: Lineage, certificate: Certificate, others: Sequence[Certificate]
    ) -> Sequence[Certificate]:
        """Return what serves a name of the lineage from now on, where `others` serve it now."""
        kept = [] if self._is_alone(lineage) else [one for one in others if one.family != certificate.family]
        return sorted((*kept, certificate), key=lambda one: one.family)

    async def _confirm(self, lineage: Lineage, certificate: Certificate, before: _Before) -> Installed:
        """Look through a real connection to our listener: a wrong certificate is taken back, silence only alarms."""
        address = self._address(lineage)
        if address is None:
            return Serving()
        for number in range(_LOOKS):
            if number:
                await asyncio.sleep(self._look_again.total_seconds())
            await self._turn()
            seen, reason = await self._look(address, lineage, certificate)
            await self._turn()
            if certificate not in self._table.certificates(lineage.host):
                return Serving()  # removed or replaced meanwhile: what was seen says nothing about it
            match seen:
                case Seen.RIGHT:
                    self._confirmed(lineage, certificate)
                    return Serving()
                case Seen.NOTHING:
                    self._alarm(lineage, _trouble(address, seen, reason))
                    return Serving()
                case Seen.WRONG:
                    continue
        reason = _trouble(address, Seen.WRONG)
        if self._valid(before[lineage.host], certificate) is None:  # nothing better to show
            self._alarm(lineage, reason)
            return Serving()
        return self._take_back(lineage, certificate, before, reason)

    def _take_back(self, lineage: Lineage, certificate: Certificate, before: _Before, reason: str) -> TakenBack:
        self._restore(certificate, before)
        self._tell(lineage, f"{reason}; what served before serves again")
        return TakenBack(reason=reason, previous=self._valid(before[lineage.host], certificate))

    def _restore(self, certificate: Certificate, before: _Before) -> None:
        """Put back what `certificate` took the place of; what others did to the names meanwhile stays."""
        for name, certificates in before.items():
            serving = self._table.certificates(name)
            if certificate in serving:
                kept = [one for one in serving if one != certificate]
                families = {one.family for one in kept}
                back = (one for one in certificates if one != certificate and one.family not in families)
                self._table.restore(name, sorted((*kept, *back), key=lambda one: one.family))

    def _valid(self, before: Sequence[Certificate], certificate: Certificate) -> Certificate | None:
        now = self._clock.now()
        usable = (one for one in before if one.not_before <= now < one.not_after and one.leaf != certificate.leaf)
        return next((one for one in usable if one.family == certificate.family or len(before) == 1), None)

    def _address(self, lineage: Lineage) -> tuple[str, int] | None:
        listening = self._listening_at()
        return place(listening, lineage.host) if listening else None

    def _confirmed(self, lineage: Lineage, certificate: Certificate) -> None:
        self._unconfirmed.pop(lineage, None)
        self._memory.note("confirmed", lineage.host, None, serial=f"{certificate.serial:x}")

    def _alarm(self, lineage: Lineage, reason: str) -> None:
        self._unconfirmed[lineage] = reason
        self._tell(lineage, reason)

    def _tell(self, lineage: Lineage, message: str) -> None:
        _log.error("the new certificate is not confirmed", extra={"host": lineage.host, "reason": message})
        self._memory.note("not confirmed", lineage.host, None, reason=message)


def _trouble(address: tuple[str, int], seen: Seen, why: str = "") -> str:
    shown = f"our own listener {address[0]}:{address[1]}"
    if seen is Seen.WRONG:
        return f"{shown} shows another certificate: look whether another program listens there too"
    return f"{shown} could not be looked at: {why}"
