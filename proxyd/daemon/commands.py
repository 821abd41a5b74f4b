"""What the commands ask of a running daemon: one method for each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from proxyd.admin.control_address import OTHER_CACHE
from proxyd.admin.control_socket import Refused, Request, Tell
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.status import budget_document, host_statuses, status_document
from proxyd.daemon.cache_view import orders_left
from proxyd.daemon.certificates import Certificates
from proxyd.version import __version__

Document = Mapping[str, Any]


class Commands:
    """Answers the control socket. Nothing here blocks the loop for longer than a look at memory takes."""

    def __init__(self, *, certificates: Certificates, cache: Path, clock: Clock) -> None:
        self._certificates = certificates
        self._cache = cache
        self._clock = clock
        self._by_name: dict[str, Callable[[Document, Tell], Awaitable[Document]]] = {
            "status": self._status,
        }

    async def answer(self, request: Request, tell: Tell) -> Document:
        """Implement Answers of the control socket."""
        if request.cache is not None and request.cache != str(self._cache.resolve()):
            raise Refused(f"the daemon there keeps another cache, {self._cache}", status=OTHER_CACHE)
        command = self._by_name.get(request.command)
        if command is None:
            raise Refused(f"the daemon knows no command {request.command[:40]!r}: is it of another version?")
        return await command(request.arguments, tell)

    async def _status(self, arguments: Document, _tell: Tell) -> Document:
        fleet, now = self._certificates.renewer.fleet, self._clock.now()
        hosts = _hosts(arguments)
        facts = fleet.facts(frozenset(hosts) or None)
        left = orders_left(fleet, self._clock)

        def document() -> Document:  # values only: 10,000 rows must not stop the loop
            rows = {host: row for host, row in host_statuses(facts, now).items() if not hosts or host in hosts}
            _refuse_unknown(hosts, rows)
            return status_document(rows, budget_document(facts, left), version=__version__, from_daemon=True)

        return await asyncio.to_thread(document)


def _hosts(arguments: Document) -> list[Hostname]:
    written = arguments.get("hosts")
    found = [Hostname.from_wire(one) for one in written if isinstance(one, str)] if isinstance(written, list) else []
    return [host for host in found if host is not None]


def _refuse_unknown(hosts: Sequence[Hostname], known: Mapping[Hostname, object]) -> None:
    if unknown := [host.text for host in hosts if host not in known]:
        raise Refused(f"not in the running configuration: {', '.join(unknown)}")
