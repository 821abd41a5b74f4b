"""`proxyd renew`: order now what a person names, within the budget."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never

from proxyd.admin.control_socket import Refused, Request, Tell
from proxyd.core.certificate_state import Dormant
from proxyd.core.clock import Clock
from proxyd.core.lineage import Lineage
from proxyd.core.status import rfc3339
from proxyd.daemon.attempt import NotNow, Outcome, Renewed, StillOrdering, outcome
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.command_arguments import flag, hosts_of, lineages_of

Document = Mapping[str, Any]
_WAIT_SECONDS = 780.0  # an order may take ten minutes, and a second challenge type follows


class RenewCommand:
    """Wishes, then watches what becomes of it. Who goes away loses only the watching."""

    def __init__(self, *, certificates: Certificates, clock: Clock) -> None:
        self._certificates = certificates
        self._renewer = certificates.renewer
        self._fleet = certificates.renewer.fleet
        self._clock = clock

    async def answer(self, request: Request, tell: Tell) -> Document:
        """Return for each lineage what happens or happened to it."""
        if (doubt := self._certificates.clock_guard.doubt) and doubt.holds:
            raise Refused(doubt.reason)
        if flag(request, "all"):
            return self._all(request)
        own, forced = self._certificates.own.files, flag(request, "force")
        lineages = lineages_of(self._renewer, hosts_of(request), own=own)
        if forced and len({lineage.host for lineage in lineages}) > 1:
            raise Refused("--force takes one host: it spends what is kept for accidents")
        before = {lineage: self.wish(lineage, request, forced=forced) for lineage in lineages}
        begun = {lineage: self._begun(lineage) for lineage in lineages}
        for one in begun.values():
            await tell(one)
        if not flag(request, "wait"):
            return {"results": {str(lineage): one for lineage, one in begun.items()}}
        results: dict[str, Document] = {}

        async def watch(lineage: Lineage) -> None:
            ended = results[str(lineage)] = self._alarmed(lineage, await self.outcome(lineage, before[lineage]))
            if ended["text"] != begun[lineage]["text"]:  # refused at once: that was told
                await tell(ended)

        async with asyncio.TaskGroup() as group:
            for lineage in lineages:
                group.create_task(watch(lineage))
        return {"results": results}

    def wish(self, lineage: Lineage, request: Request, *, forced: bool = False) -> int | None:
        """Have it ordered, whatever it waited or was blocked for; return the serial of what serves now."""
        held = self._fleet.held(lineage)
        fields = {"uid": request.uid, "forced": forced or None, "by": request.command}
        self._certificates.memory.note("renewal wished", lineage.host, None, **fields)
        self._lift([lineage])
        self._renewer.wish(lineage, forced=forced)
        return held.serial if held else None

    async def outcome(self, lineage: Lineage, replaced: int | None) -> Outcome:
        """Wait for the end of the order that was wished for."""
        return await outcome(
            lineage,
            replaced=replaced,
            fleet=self._fleet,
            serving=self._certificates.serving,
            clock=self._clock,
            seconds=_WAIT_SECONDS,
        )

    def _alarmed(self, lineage: Lineage, ended: Outcome) -> Document:
        """Return an outcome; a new certificate may serve and yet not be kept, or not be what clients see."""
        result = described(lineage, ended)
        facts = self._certificates.facts(frozenset({lineage.host}))
        alarms = [alarm.reason for one in facts if one.plan.lineage == lineage for alarm in one.alarms]
        return {**result, "alarms": alarms, "text": "; but ".join((result["text"], *alarms))}

    def _begun(self, lineage: Lineage) -> Document:
        refused = self._fleet.refusal(lineage, self._clock.now())
        if refused is None:
            return {"host": lineage.host.text, "result": "ordering", "text": f"{lineage}: ordering"}
        failure, until = refused
        return described(lineage, NotNow(failure=failure, until=until))

    def _all(self, request: Request) -> Document:
        """Spread over the CA's own pace; those that left us are let sleep."""
        lineages = [one for one, state in self._fleet.states().items() if not isinstance(state, Dormant)]
        now = self._clock.now()
        times = self._paced(lineages, now)
        self._certificates.memory.note("renewal of all wished", None, None, uid=request.uid, count=len(lineages))
        self._lift(lineages)
        for lineage, at in zip(lineages, times, strict=True):
            self._renewer.wish(lineage, at=at)
        last = rfc3339(max(times, default=now))
        return {"count": len(lineages), "at_once": sum(at <= now for at in times), "last": last}

    def _lift(self, lineages: Sequence[Lineage]) -> None:
        """Give a CA that refused the account, or was down, one more try."""
        plans = (self._fleet.plan(lineage) for lineage in lineages)
        for issuer in {issuer for plan in plans if plan for issuer in plan.issuers}:
            self._fleet.authority(issuer).account_changed()

    def _paced(self, lineages: Sequence[Lineage], now: datetime) -> list[datetime]:
        """Half of what the CA allows now at once, the rest at the pace at which its allowance comes back."""
        times, counts = [], dict[str, int]()
        for lineage in lineages:
            plan = self._fleet.plan(lineage)
            issuer = plan.issuers[0] if plan else ""
            ledger = self._fleet.authority(issuer).ledger if issuer else None
            count = counts[issuer] = counts.get(issuer, 0) + 1
            late = timedelta(0)
            if ledger is not None:
                late = max(0, count - ledger.available(now)["orders_left"] // 2) * ledger.pace
            times.append(now + late)
        return times


def described(lineage: Lineage, ended: Outcome) -> Document:
    """Return an outcome for people and scripts."""
    host = lineage.host.text
    match ended:
        case Renewed(certificate=certificate):
            until = rfc3339(certificate.not_after)
            text = f"{lineage}: renewed, serial {certificate.serial:x}, valid until {until}"
            return {
                "host": host,
                "result": "renewed",
                "text": text,
                "serial": f"{certificate.serial:x}",
                "not_after": until,
            }
        case NotNow(failure=failure, until=at):
            why = failure.message.removeprefix(f"{host}: ")
            is_dated = f"{at:%Y-%m-%d %H:%M} UTC" in why  # it names the time itself
            text = (
                f"{lineage}: {why}" if is_dated else f"{lineage}: not before {at:%Y-%m-%d %H:%M:%S} UTC, because {why}"
            )
            return {"host": host, "result": "waiting", "text": text, "next_try": rfc3339(at), "error": failure.message}
        case StillOrdering():
            return {"host": host, "result": "ordering", "text": f"{lineage}: not finished; `proxyd status` tells"}
        case _:
            assert_never(ended)
