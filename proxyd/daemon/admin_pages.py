"""What the admin listener shows of this daemon."""

import asyncio
import os
import platform
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import ProcessCollector

from proxyd.admin.control_socket import Request
from proxyd.admin.metrics import Observation, render
from proxyd.config.model import Config
from proxyd.core.clock import Clock
from proxyd.core.counters import Document, summed
from proxyd.core.hostname import Hostname
from proxyd.core.status import Facts, HostStatus, host_statuses
from proxyd.daemon.cache_view import orders_left
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.commands import Commands
from proxyd.daemon.last_reload import LastReload
from proxyd.version import __version__

_READ_SECONDS = 1.0
_BUILD = {"version": __version__, "python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION}


Counted = Callable[[], Awaitable[Iterable[Document]]]


class AdminPages:
    """Implements Pages. `counted` asks every process that serves; `upstreams` names those of the configuration."""

    def __init__(
        self,
        *,
        counted: Counted,
        upstreams: Callable[[], Iterable[str]],
        certificates: Certificates,
        commands: Commands,
        config: Callable[[], Config],
        last_reload: LastReload,
        clock: Clock,
    ) -> None:
        self.is_stopping = False
        self._counted = counted
        self._upstreams = upstreams
        self._certificates = certificates
        self._commands = commands
        self._config = config
        self._last_reload = last_reload
        self._clock = clock
        self._process = ProcessCollector(registry=None)

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        fleet, facts, now = self._certificates.renewer.fleet, self._certificates.facts(), self._clock.now()
        upstreams, config = [*self._upstreams()], self._config()
        documents = await self._counted()
        orders, left = {**self._certificates.memory.orders}, orders_left(fleet, self._clock)

        def rendered() -> tuple[bytes, str]:  # values only: 10,000 hosts must not stop the loop
            observation = Observation(
                build=_BUILD,
                counted=summed(documents),
                upstreams=upstreams,
                certificates=_rows(facts, now, on_demand=False),
                on_demand=states_by_pattern(config, _rows(facts, now, on_demand=True)),
                orders=orders,
                orders_left={issuer: room["orders_left"] for issuer, room in left.items()},
                is_file_in_force=not self._last_reload.refused,
                reloaded_at=self._last_reload.applied_at,
            )
            return render(observation, accept, self._process)

        return await asyncio.to_thread(rendered)

    async def status(self) -> Mapping[str, Any]:
        asked = Request(command="status", arguments={}, cache=None, uid=os.geteuid())
        return await self._commands.answer(asked, _nobody)

    async def not_ready(self) -> str | None:
        if self.is_stopping:
            return "stopping: no new connections are taken"
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await self._certificates.ready()
        except TimeoutError:
            return "starting: the cache is being read"
        return None


def _rows(facts: Iterable[Facts], now: datetime, *, on_demand: bool) -> dict[str, HostStatus]:
    rows = host_statuses((one for one in facts if one.plan.on_demand is on_demand), now)
    return {host.text: row for host, row in rows.items()}


def states_by_pattern(config: Config, rows: Mapping[str, HostStatus]) -> Counter[tuple[str, str]]:
    """Return how many names under each wildcard host are in which state: clients choose them, so they are no labels."""
    patterns = ((config.table.pattern(Hostname(name)), row.state) for name, row in rows.items())
    return Counter((pattern.text, state) for pattern, state in patterns if pattern is not None)


async def _nobody(_progress: Mapping[str, Any]) -> None:
    """Nobody is told how far a status is."""
