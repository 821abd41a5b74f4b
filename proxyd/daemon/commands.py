"""What the commands ask of a running daemon: one method for each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from proxyd.admin.control_address import OTHER_CACHE
from proxyd.admin.control_socket import Refused, Request, Tell
from proxyd.config.model import Config
from proxyd.core.clock import Clock
from proxyd.core.held_document import held_documents
from proxyd.core.hostname import Hostname
from proxyd.core.status import budget_document, host_statuses, status_document
from proxyd.daemon.account_command import AccountCommand
from proxyd.daemon.cache_view import orders_left
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.command_arguments import hosts_of, refuse_unknown
from proxyd.daemon.config_fingerprint import host_fingerprints, option_fingerprint
from proxyd.daemon.explain_command import merged, names_of, story
from proxyd.daemon.renew_command import RenewCommand
from proxyd.daemon.revoke_command import RevokeCommand
from proxyd.version import __version__

Document = Mapping[str, Any]


class Commands:
    """Answers the control socket. Nothing here blocks the loop for longer than a look at memory takes."""

    def __init__(self, *, certificates: Certificates, cache: Path, config: Callable[[], Config], clock: Clock) -> None:
        self._certificates = certificates
        self._config = config
        self._cache = cache
        self._clock = clock
        account = AccountCommand(certificates=certificates)
        renew = RenewCommand(certificates=certificates, clock=clock)
        self._by_name: dict[str, Callable[[Request, Tell], Awaitable[Document]]] = {
            "status": self._status,
            "explain": self._explain,
            "running": self._running,
            "renew": renew.answer,
            "account": account.show,
            "rotate-key": account.rotate,
            "revoke": RevokeCommand(certificates=certificates, renew=renew).answer,
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

    async def _status(self, request: Request, _tell: Tell) -> Document:
        fleet, now = self._certificates.renewer.fleet, self._clock.now()
        hosts = hosts_of(request)
        facts = fleet.facts(frozenset(hosts) or None)
        left, doubt = orders_left(fleet, self._clock), self._certificates.clock_guard.doubt

        def document() -> Document:  # values only: 10,000 rows must not stop the loop
            rows = {host: row for host, row in host_statuses(facts, now).items() if not hosts or host in hosts}
            refuse_unknown(hosts, rows)
            budget = budget_document(facts, left)
            return status_document(rows, budget, version=__version__, from_daemon=True, doubt=doubt)

        return await asyncio.to_thread(document)

    async def _explain(self, request: Request, _tell: Tell) -> Document:
        (host, *_) = hosts = hosts_of(request) or [Hostname("")]
        facts, now = self._certificates.renewer.fleet.facts(frozenset({host})), self._clock.now()
        refuse_unknown(hosts, {host: facts} if facts else {})
        doubt = self._certificates.clock_guard.doubt

        def document() -> Document:
            events = merged([self._certificates.memory.history(name) for name in names_of(host, facts)])
            return story(host, facts, events, now, config=self._config, runs=True, doubt=doubt)

        return await asyncio.to_thread(document)

    async def _running(self, _request: Request, _tell: Tell) -> Document:
        """Return what tells the running configuration from another, and which certificates serve."""
        config, facts = self._config(), self._certificates.renewer.fleet.facts()
        hosts = await asyncio.to_thread(host_fingerprints, config)
        held = await asyncio.to_thread(held_documents, facts)
        return {"hosts": hosts, "options": option_fingerprint(config), "held": held}
