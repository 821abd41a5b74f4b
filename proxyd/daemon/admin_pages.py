"""What the admin listener shows of this daemon."""

import asyncio
import os
import platform
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from prometheus_client import ProcessCollector

from proxyd.admin.control_socket import Refused, Request
from proxyd.admin.host_filter import HostFilter
from proxyd.admin.host_page import host_page, not_found_page, story_of
from proxyd.admin.metrics import Observation, render
from proxyd.admin.status_page import Overview, status_page
from proxyd.config.model import Config
from proxyd.core.alarm import Alarm
from proxyd.core.clock import Clock
from proxyd.core.counters import Document, summed
from proxyd.core.hostname import Hostname
from proxyd.core.status import OTHERS, Facts, HostStatus, budget_document, host_statuses
from proxyd.daemon.cache_view import orders_left
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.commands import Commands
from proxyd.daemon.last_reload import LastReload
from proxyd.version import __version__

_READ_SECONDS = 1.0
_EVENTS = 12
_Result = TypeVar("_Result")
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
        alerts: Mapping[tuple[str, str], int],
        handovers: Mapping[tuple[str, str], int],
        config: Callable[[], Config],
        last_reload: LastReload,
        others: Callable[[], Mapping[str, Alarm]],
        clock: Clock,
    ) -> None:
        self.is_stopping = False
        self._counted = counted
        self._upstreams = upstreams
        self._certificates = certificates
        self._commands = commands
        self._alerts = alerts
        self._handovers = handovers
        self._config = config
        self._last_reload = last_reload
        self._others = others
        self._clock = clock
        self._process = ProcessCollector(registry=None)
        self._thread = ThreadPoolExecutor(1, "admin")

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        fleet, facts, now = self._certificates.renewer.fleet, self._certificates.facts(), self._clock.now()
        upstreams, config = [*self._upstreams()], self._config()
        documents = await self._counted()
        others = self._others()
        troubles = {
            "clock": self._certificates.clock_guard.doubt is not None,
            "cache": self._certificates.alarms.cache is not None,
            **{key: key in others for key in OTHERS},
        }
        orders, left = {**self._certificates.memory.orders}, orders_left(fleet, self._clock)
        alerts, handovers = {**self._alerts}, {**self._handovers}

        def rendered() -> tuple[bytes, str]:  # values only: 10,000 hosts must not stop the loop
            observation = Observation(
                build=_BUILD,
                counted=summed(documents),
                upstreams=upstreams,
                certificates=_rows(facts, now, on_demand=False),
                on_demand=states_by_pattern(config, _rows(facts, now, on_demand=True)),
                orders=orders,
                alerts=alerts,
                handovers=handovers,
                orders_left={issuer: room["orders_left"] for issuer, room in left.items()},
                troubles=troubles,
                is_file_in_force=not self._last_reload.refused,
                reloaded_at=self._last_reload.applied_at,
            )
            return render(observation, accept, self._process)

        return await self._in_thread(rendered)

    async def overview(self, asked: HostFilter) -> str:
        certificates, now = self._certificates, self._clock.now()
        facts, left = certificates.facts(), orders_left(certificates.renewer.fleet, self._clock)
        alarms = (certificates.clock_guard.doubt, certificates.alarms.cache, *self._others().values())
        look, upstreams = self._commands.on_demand_views(now), [*self._upstreams()]
        starting, refused = await self.not_ready(), self._last_reload.words
        documents = await self._counted()

        def rendered() -> str:
            seen = Overview(
                version=__version__,
                now=now,
                rows=[*host_statuses(facts, now).values()],
                wildcards=look(),
                budget=budget_document(facts, left),
                troubles=[
                    *(one for one in (starting, refused) if one),
                    *(one.reason for one in alarms if one is not None),
                ],
                counted=summed(documents),
                upstreams=upstreams,
                events=certificates.memory.latest(_EVENTS),
            )
            return status_page(seen, asked)

        return await self._in_thread(rendered)

    async def host(self, name: str) -> tuple[str, bool]:
        now, config = self._clock.now(), self._config()
        asked = Request(command="explain", arguments={"hosts": [name]}, cache=None, uid=os.geteuid())
        try:
            told = await self._commands.answer(asked, _nobody)
        except Refused as error:
            return not_found_page(name, str(error), version=__version__, now=now), False
        documents = await self._counted()

        def rendered() -> str:
            of_host, upstreams = _served(config, told["host"])
            counted = summed(documents)
            return host_page(
                story_of(told, version=__version__, now=now, counted=counted, upstreams=upstreams, of_host=of_host)
            )

        return await self._in_thread(rendered), True

    async def status(self) -> Mapping[str, Any]:
        asked = Request(command="status", arguments={}, cache=None, uid=os.geteuid())
        return await self._commands.answer(asked, _nobody)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        """One at a time: pages take no thread, and no more of the processor, from who keeps certificates."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

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


def _served(config: Config, name: str) -> tuple[str, list[str]]:
    """Return under which name the answers of a host are counted, and its upstreams."""
    served = {one.text: options for one, options in config.served.items()}
    pattern = config.table.pattern(Hostname(name))
    of_host = name if name in served or pattern is None else pattern.text
    options = served.get(of_host)
    if options is None:
        return of_host, []
    routes = (route.upstream for route in options.paths.values() if route.upstream)
    return of_host, [*dict.fromkeys(str(one) for group in ((options.upstream or ()), *routes) for one in group)]


async def _nobody(_progress: Mapping[str, Any]) -> None:
    """Nobody is told how far a status is."""
