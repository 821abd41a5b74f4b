"""What the commands ask of a running daemon: one method for each."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from proxyd.admin.control_address import OTHER_CACHE
from proxyd.admin.control_socket import Refused, Request, Tell
from proxyd.config.model import Config
from proxyd.core.alarm import Alarm
from proxyd.core.clock import Clock
from proxyd.core.held_document import held_documents
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.status import budget_document, host_statuses, status_document
from proxyd.daemon.account_command import AccountCommand
from proxyd.daemon.cache_view import orders_left
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.command_arguments import hosts_or_patterns_of, refuse_unknown
from proxyd.daemon.config_fingerprint import host_fingerprints, option_fingerprint
from proxyd.daemon.explain_command import merged, names_of, on_demand_story, story
from proxyd.daemon.last_reload import LastReload
from proxyd.daemon.on_demand_views import asked_rows, on_demand_views, view_of
from proxyd.daemon.reload_command import ReloadCommand
from proxyd.daemon.renew_command import RenewCommand
from proxyd.daemon.revoke_command import RevokeCommand
from proxyd.daemon.trust_command import roots_document
from proxyd.version import __version__

Document = Mapping[str, Any]
_Result = TypeVar("_Result")
_log = logging.getLogger("proxyd.control")


class Commands:
    """Answers the control socket. Nothing here blocks the loop for longer than a look at memory takes."""

    def __init__(
        self,
        *,
        certificates: Certificates,
        started: Config,
        config: Callable[[], Config],
        reload: ReloadCommand,
        last_reload: LastReload,
        others: Callable[[], Mapping[str, Alarm]],
        clock: Clock,
    ) -> None:
        self._certificates = certificates
        self._config = config
        self._started = started
        self._cache = started.cache_directory
        self._last_reload = last_reload
        self._others = others
        self._clock = clock
        account = AccountCommand(certificates=certificates)
        renew = RenewCommand(certificates=certificates, clock=clock)
        self._revoke = RevokeCommand(certificates=certificates, renew=renew)
        self._by_name: dict[str, Callable[[Request, Tell], Awaitable[Document]]] = {
            "status": self._status,
            "explain": self._explain,
            "running": self._running,
            "renew": renew.answer,
            "account": account.show,
            "rotate-key": account.rotate,
            "revoke": self._revoke.answer,
            "reload": reload.answer,
            "trust": self._trust,
        }

    async def answer(self, request: Request, tell: Tell) -> Document:
        """Implement Answers of the control socket."""
        if request.cache is not None and request.cache != str(self._cache.resolve()):
            raise Refused(f"the daemon there keeps another cache, {self._cache}", status=OTHER_CACHE)
        command = self._by_name.get(request.command)
        if command is None:
            raise Refused(f"the daemon knows no command {request.command[:40]!r}: is it of another version?")
        await self._certificates.ready()
        return await command(request, tell)

    async def before_orders(self) -> list[Lineage]:
        """Do what commands that a kill cut off want done before any order is sent."""
        return await _gone_on(self._revoke.before_orders()) or []

    async def go_on(self) -> None:
        """Go on with the commands that a kill cut off."""
        await _gone_on(self._revoke.go_on())

    async def _status(self, request: Request, _tell: Tell) -> Document:
        fleet, now = self._certificates.renewer.fleet, self._clock.now()
        hosts = hosts_or_patterns_of(request)
        facts, cache = self._certificates.facts(frozenset(hosts) or None), self._certificates.alarms.cache
        left, doubt = orders_left(fleet, self._clock), self._certificates.clock_guard.doubt
        on_demand, look = self._certificates.on_demand, self.on_demand_views(now)
        refused, others = self._last_reload.words, self._others()

        def document() -> Document:  # values only: 10,000 rows must not stop the loop
            rows, views = asked_rows(host_statuses(facts, now), look(), hosts, on_demand.refusal)
            refuse_unknown(hosts, {**rows, **dict.fromkeys(Hostname(one.text) for one in views)})
            budget = budget_document(facts, left)
            shown = {one.text: view.to_document() for one, view in views.items()}
            return status_document(
                rows,
                budget,
                version=__version__,
                from_daemon=True,
                doubt=doubt,
                cache=cache,
                refused=refused,
                others=others,
                on_demand=shown,
            )

        return await asyncio.to_thread(document)

    async def _explain(self, request: Request, _tell: Tell) -> Document:
        (host, *_) = hosts = hosts_or_patterns_of(request) or [Hostname("")]
        facts, now = self._certificates.facts(frozenset({host})), self._clock.now()
        doubt, memory = self._certificates.clock_guard.doubt, self._certificates.memory
        cache = self._certificates.alarms.cache
        refusal, look = self._certificates.on_demand.refusal(host), self.on_demand_views(now)

        def document() -> Document:
            if not facts and (view := view_of(host, look())):
                return on_demand_story(
                    host, view, memory.history, now, refusal=refusal, runs=True, doubt=doubt, cache=cache
                )
            refuse_unknown(hosts, {host: facts} if facts else {})
            events = merged([memory.history(name) for name in names_of(host, facts)])
            return story(host, facts, events, now, config=self._config, runs=True, doubt=doubt, cache=cache)

        return await asyncio.to_thread(document)

    async def _trust(self, _request: Request, _tell: Tell) -> Document:
        """Return the roots of the internal CA; that they are new is told no more."""
        internal = self._certificates.authorities.internal
        document = await asyncio.to_thread(roots_document, self._config(), internal.roots)
        if document["roots"]:
            internal.was_shown()
        return document

    def on_demand_views(self, now: datetime) -> Callable[[], Mapping[HostPattern, OnDemandView]]:
        """Return what makes the views of the wildcard hosts, in any thread."""
        config, on_demand = self._config(), self._certificates.on_demand
        names, created = on_demand.names, on_demand.created.copy()
        return lambda: on_demand_views(config, names, created, now)

    async def _running(self, _request: Request, _tell: Tell) -> Document:
        """Return what tells the running configuration from another, and which certificates serve."""
        config, facts = self._config(), self._certificates.renewer.fleet.facts()
        hosts = await asyncio.to_thread(host_fingerprints, config)
        held = await asyncio.to_thread(held_documents, facts)
        started = option_fingerprint(self._started)
        return {"hosts": hosts, "options": option_fingerprint(config), "started": started, "held": held}


async def _gone_on(work: Awaitable[_Result]) -> _Result | None:
    try:
        return await work
    except Exception:  # noqa: BLE001 - no old command may end the daemon
        _log.exception("an interrupted command could not be gone on with")
        return None
