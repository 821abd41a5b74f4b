"""`proxyd revoke`: a new certificate first, then the old one is revoked, and never loads again."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxyd.admin.control_socket import Refused, Request, Tell
from proxyd.certs.certificate import Certificate
from proxyd.core.failure import IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import INTERNAL
from proxyd.core.key_family import KeyFamily
from proxyd.core.lineage import Lineage
from proxyd.core.revocation_reason import KEY_COMPROMISE, REASONS, reason_name
from proxyd.daemon.attempt import Renewed
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.command_arguments import flag, hosts_of, lineages_of
from proxyd.daemon.renew_command import RenewCommand, described
from proxyd.store.pending_orders import PendingOrder
from proxyd.store.store import StoreError

Document = Mapping[str, Any]
_log = logging.getLogger("proxyd.control")
_REVOKE_SECONDS = 120.0
_AGAIN_SECONDS = 3600.0
_FAMILIES: tuple[KeyFamily, ...] = ("ec", "rsa")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Old:
    """The certificate that shall go, and the CAs that may have given it, the likely one first."""

    lineage: Lineage
    certificate: Certificate
    issuers: tuple[str, ...]


class RevokeCommand:
    """Without `now` nothing is revoked before its successor serves; with it the site may be refused meanwhile."""

    def __init__(self, *, certificates: Certificates, renew: RenewCommand) -> None:
        self._certificates = certificates
        self._renew = renew
        self._fleet = certificates.renewer.fleet
        self._marking = asyncio.Lock()
        self._ours_to_end = asyncio.Event()  # what a process that is gone began

    async def answer(self, request: Request, tell: Tell) -> Document:
        """Return for each key kind what was done; `complete`: everything."""
        reason = request.arguments.get("reason")
        if not isinstance(reason, int) or reason not in REASONS.values():
            raise Refused("a reason is missing")
        hosts = hosts_of(request)
        if len(hosts) != 1:
            raise Refused("revoke takes one host")
        if why := self._certificates.turn.reason:  # whose turn it is would serve the revoked one on
            raise Refused(f"nothing is revoked by a daemon that may not order: {why}", status=1)
        if not self._certificates.renewer.fleet.lineages_of(hosts[0]) and (left := await self._left_behind(hosts[0])):
            results = await self._revoke(left, reason, tell)  # nobody is refused by it
            complete = all(one["revoked"] for one in results)
            return {"results": results, "complete": complete, "replaced": False, "configured": False}
        lineages = lineages_of(self._certificates.renewer, hosts, own=self._certificates.own.files)
        now = flag(request, "now")
        olds = self._olds(lineages)
        if not olds:
            raise Refused(f"{hosts[0]} has no certificate that could be revoked")
        # The keys of orders lay beside the one that was stolen; before all else: a kill would have them gone on with.
        orders = await self._abandon_orders(lineages) if reason == KEY_COMPROMISE else {}
        results = await self._revoke(olds, reason, tell) if now else []
        for old in olds:
            await self._order(old, reason, request, tell)
        replaced = [await self._replaced(old, tell) for old in olds]
        gone: list[_Old] = []
        for at, old in enumerate(olds):
            if replaced[at] and (tainted := self._tainted(old, orders.get(old.lineage, ()))):
                await self._order(tainted, reason, request, tell)
                replaced[at] = await self._replaced(tainted, tell)
                gone += [tainted] if replaced[at] else []
            gone += [old] if replaced[at] and not now else []
        results += await self._revoke(gone, reason, tell)
        complete = all(replaced) and all(one["revoked"] for one in results)
        return {"results": results, "complete": complete, "replaced": all(replaced), "configured": True}

    async def before_orders(self) -> list[Lineage]:
        """Do first, when orders are ours to send, what a kill cut off: resume none whose key lay beside a stolen one.

        Return what has that key, or cannot serve because of it: to be ordered past our own ceiling, as by the command.
        """
        wished = []
        stolen: dict[Lineage, list[Certificate]] = {}
        for host, certificate, reason in await self._cut_off():
            for lineage in self._fleet.lineages_of(host) if reason == KEY_COMPROMISE else ():
                stolen.setdefault(lineage, []).append(certificate)
        await self._abandon_orders(stolen)
        for lineage, certificates in stolen.items():
            serving = self._certificates.serving(lineage)
            mine = [one for one in certificates if one.family == lineage.key_family]
            if any(serving is None or serving.has_key_of(one) for one in mine):
                _log.warning("ordering the successor of a compromised key", extra={"host": lineage.host})
                wished.append(lineage)
        self._ours_to_end.set()
        return wished

    async def go_on(self) -> None:
        """Ask again for what another process was asking for when it was killed, until a CA says that it did it.

        For each time that orders become ours to send. Ends only by cancellation.
        """
        await self._certificates.ready()
        while await self._ours_to_end.wait():
            self._ours_to_end.clear()
            await self._end_all()

    async def _end_all(self) -> None:
        while left := await self._cut_off():
            for host, certificate, reason in left:
                done = await self._ask_for(self._old(host, certificate), [(certificate, False)], reason, _nobody)
                if not done["revoked"]:
                    extra = {"host": host, "serial": done["serial"], "reason": "; ".join(done["errors"])}
                    _log.error("a certificate is not revoked yet: its CA is asked again in an hour", extra=extra)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _cut_off(self) -> list[tuple[Hostname, Certificate, int]]:
        """Return what no CA has said to have revoked yet, and what else has a compromised key, with the reasons."""
        store = self._certificates.store
        async with self._marking:  # a mark that another task writes is not read yet
            for host, certificate, reason in await asyncio.to_thread(store.intended):
                await self._intend(self._old(host, certificate), reason)
            return await asyncio.to_thread(store.intended)

    async def _abandon_orders(self, lineages: Collection[Lineage]) -> dict[Lineage, list[PendingOrder]]:
        abandon = self._certificates.renewer.abandon_orders
        return dict(zip(lineages, await asyncio.gather(*map(abandon, lineages)), strict=True))

    def _olds(self, lineages: Sequence[Lineage]) -> list[_Old]:
        found = []
        for lineage in lineages:
            plan, held = self._fleet.plan(lineage), self._fleet.held(lineage)
            if (certificate := self._certificates.serving(lineage)) is not None and plan is not None:
                self._refuse_anothers(lineage, certificate)
                first = (held.issuer,) if held and held.issuer else ()
                issuers = tuple(dict.fromkeys((*first, *plan.issuers)))
                found.append(_Old(lineage=lineage, certificate=certificate, issuers=issuers))
        return found

    def _refuse_anothers(self, lineage: Lineage, certificate: Certificate) -> None:
        """Raise Refused when another host's certificate stands in here: that host would go on serving it, revoked."""
        for other in () if self._is_held(lineage, certificate) else self._fleet.lineages():
            serving = self._certificates.serving(other)
            if serving and serving.leaf == certificate.leaf and self._is_held(other, certificate):
                raise Refused(_in_use(lineage.host, other.host))

    def _is_held(self, lineage: Lineage, certificate: Certificate) -> bool:
        held = self._fleet.held(lineage)
        return held is not None and held.serial == certificate.serial

    async def _left_behind(self, host: Hostname) -> list[_Old]:
        """Return what the cache holds of a host that is in the configuration no more: its key may be stolen too."""
        store = self._certificates.store
        own = [await asyncio.to_thread(store.load, host, (family,)) for family in _FAMILIES]
        if kept := [(host, certificate) for certificate in own if certificate is not None]:
            return [self._old(owner, certificate) for owner, certificate in kept]
        try:
            shared = await asyncio.to_thread(lambda: [one for one in store.of_others({host}) if one[1].covers(host)])
        except StoreError as error:
            raise Refused(str(error), status=1) from error
        for owner, _ in shared:
            if self._fleet.lineages_of(owner):
                raise Refused(_in_use(host, owner))
        return [self._old(owner, certificate) for owner, certificate in shared]

    def _old(self, host: Hostname, certificate: Certificate) -> _Old:
        lineage = Lineage(host=host, names=(host,), key_kind=certificate.key_kind)
        known = self._certificates.memory.held(lineage, certificate).issuer
        issuers = tuple(dict.fromkeys((*((known,) if known else ()), *self._fleet.authorities())))
        return _Old(lineage=lineage, certificate=certificate, issuers=issuers)

    async def _order(self, old: _Old, reason: int, request: Request, tell: Tell) -> None:
        # A compromised key is no accident of ours: our own ceiling is passed, never the CA's limits.
        self._renew.wish(old.lineage, request, forced=reason == KEY_COMPROMISE)
        await tell({"text": f"{old.lineage}: ordering its successor"})

    def _tainted(self, old: _Old, orders: Sequence[PendingOrder]) -> _Old | None:
        """Return the successor when an order gave it that ran already: its key is as old as the others in the cache."""
        serving = self._certificates.serving(old.lineage)
        is_of_one = serving is not None and any(one.gave(serving) for one in orders)
        return replace(old, certificate=serving) if serving and is_of_one else None

    async def _replaced(self, old: _Old, tell: Tell) -> bool:
        ended = await self._renew.outcome(old.lineage, old.certificate.serial)
        await tell(described(old.lineage, ended))
        return isinstance(ended, Renewed)

    async def _revoke(self, olds: Sequence[_Old], reason: int, tell: Tell) -> list[Document]:
        # All are marked before a CA is asked: killed after it did it, we would serve them on, or others of their keys.
        marked = [(old, await self._intend(old, reason)) for old in olds]
        return [await self._ask_for(old, certificates, reason, tell) for old, certificates in marked]

    async def _ask_for(
        self, old: _Old, marked: Sequence[tuple[Certificate, bool]], reason: int, tell: Tell
    ) -> Document:
        """Have revoked what is marked, each with whether it was not before."""
        host, failures = old.lineage.host, list[str]()
        for certificate, is_new in marked:
            serial, name = f"{certificate.serial:x}", reason_name(reason)
            issuer, why = await self._ask(old.issuers, certificate, reason)
            if issuer is None:
                failures.append(why)
                if is_new:
                    await self._pardon(host, certificate)
                self._certificates.memory.note("not revoked", host, None, serial=serial, reason=why)
            else:
                _log.warning("certificate revoked", extra={"host": host, "serial": serial, "reason": name})
                self._certificates.memory.note("revoked", host, issuer, serial=serial, reason=name)
                await self._condemn(old, certificate, name, failures)
            text = f"revoked at {issuer}, {name}" if issuer else f"NOT revoked: {why}"
            if issuer == INTERNAL:
                text = (
                    "never serves again; the internal CA has no revocation that clients would ask for, so who has its "
                    f"key can use it until it ends, at {certificate.not_after:%Y-%m-%d %H:%M} UTC"
                )
            await tell({"text": f"{old.lineage}: certificate {serial} {text}"})
        serial = f"{old.certificate.serial:x}"
        return {"host": host.text, "serial": serial, "revoked": not failures, "errors": failures}

    async def _ask(self, issuers: Sequence[str], certificate: Certificate, reason: int) -> tuple[str | None, str]:
        why = "no CA of the configuration can be asked"
        for name in issuers:
            if (issuer := self._certificates.authorities.issuer_at(name)) is None:
                continue
            try:
                async with asyncio.timeout(_REVOKE_SECONDS):
                    await issuer.revoke(certificate, reason)
            except IssuanceError as error:
                why = str(error)
            except TimeoutError:
                why = f"the CA {name} did not answer within {_REVOKE_SECONDS:.0f} s"
            else:
                return name, ""
        return None, why

    async def _of_the_same_key(self, old: _Old, reason: int) -> list[Certificate]:
        """Return the kept generations that a compromised key belongs to: other programs reuse keys."""
        if reason != KEY_COMPROMISE:
            return []
        kept = await asyncio.to_thread(self._certificates.store.generations, old.lineage.host, old.certificate.family)
        return [one for one in kept if one.has_key_of(old.certificate) and one.leaf != old.certificate.leaf]

    async def _intend(self, old: _Old, reason: int) -> list[tuple[Certificate, bool]]:
        """Mark it and what else a compromised key belongs to; return each with whether it was not marked before."""
        certificates = [old.certificate, *await self._of_the_same_key(old, reason)]
        return [(one, await self._mark(old.lineage.host, one, reason)) for one in certificates]

    async def _mark(self, host: Hostname, certificate: Certificate, reason: int) -> bool:
        """Return whether it was not marked before."""
        store = self._certificates.store
        if await asyncio.to_thread(store.is_condemned, certificate):
            return False
        try:
            await asyncio.to_thread(store.intend, host, certificate, f"revoking: {reason_name(reason)}", reason)
        except StoreError as error:  # the CA is asked all the same: clients are in danger
            _log.error("a revocation that begins could not be kept", extra={"host": host, "reason": str(error)})
        return True

    async def _pardon(self, host: Hostname, certificate: Certificate) -> None:
        try:
            await asyncio.to_thread(self._certificates.store.pardon, host, certificate)
        except StoreError as error:
            extra = {"host": host, "serial": f"{certificate.serial:x}", "reason": str(error)}
            _log.error("a certificate that was not revoked may not load again", extra=extra)

    async def _condemn(self, old: _Old, certificate: Certificate, why: str, failures: list[str]) -> None:
        store = self._certificates.store
        try:
            await asyncio.to_thread(store.condemn, old.lineage.host, certificate, f"revoked: {why}")
        except StoreError as error:
            failures.append(f"{old.lineage.host}: it is revoked, but the cache could not be told: {error}")


async def _nobody(_document: Document) -> None:
    """Nobody waits at the control socket."""


def _in_use(host: Hostname, owner: Hostname) -> str:
    return f"{host} is in the certificate of {owner}, which is in use: `proxyd revoke {owner}`"
