"""The half of the daemon that obtains certificates and answers commands."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from proxyd.admin.admin_listener import AdminListener
from proxyd.admin.control_address import candidates, last_resorts
from proxyd.admin.control_socket import ControlSocket
from proxyd.config.model import Config
from proxyd.core.alarm import Alarm
from proxyd.core.clock import MachineClock
from proxyd.core.diagnosis import diagnose
from proxyd.core.explanation import failures_of
from proxyd.core.hostname import Hostname
from proxyd.core.status import host_statuses
from proxyd.core.status_words import status_words
from proxyd.daemon.admin_pages import AdminPages, Counted
from proxyd.daemon.alerts import Alerts
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.commands import Commands
from proxyd.daemon.explain_command import merged, names_of
from proxyd.daemon.handovers import Handovers
from proxyd.daemon.last_reload import LastReload
from proxyd.daemon.log_file import FileTroubles
from proxyd.daemon.reload import Reloaded, ReloadRefused
from proxyd.daemon.reload_command import ReloadCommand
from proxyd.daemon.systemd import Notify, StatusLine
from proxyd.daemon.user_files import UserFiles
from proxyd.frontend.listener import ListenError
from proxyd.issuance.pace import at_once
from proxyd.issuance.steady_clock import SteadyClock
from proxyd.proxy.traffic import Traffic
from proxyd.tls.certificate_table import CertificateTable
from proxyd.version import RELEASED


class Issuing:
    """Takes care of the certificates of `config`, then of those of the configuration that was applied last.

    `listening_at`: where a client on this machine reaches us; `reload` reads the file again, whether or not that drops
    many hosts, as a person says; `spread` waits until all who serve know what was
    published or put into the table.
    """

    def __init__(
        self,
        config: Config,
        *,
        listening_at: Callable[[], tuple[str, int] | None],
        notify: Notify,
        clock: MachineClock,
        rng: random.Random,
        reload: Callable[[bool], Awaitable[Reloaded]],
        spread: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self.clock = SteadyClock(clock, released=RELEASED)
        self.table = CertificateTable()
        self.traffic = Traffic(clock=self.clock)
        self.last_reload = LastReload()
        self.log_files = FileTroubles()
        self._user_files = UserFiles()
        self._config = self._started = config
        self._status_line = StatusLine(
            self._status_words, notify, first="reading the cache", above=lambda: self.last_reload.words
        )
        self.certificates = Certificates(
            config,
            table=self.table,
            listening_at=listening_at,
            installed=self._installed,
            traffic=self.traffic,
            clock=self.clock,
            rng=rng,
            spread=spread,
        )
        self._commands = Commands(
            certificates=self.certificates,
            started=config,
            config=lambda: self._config,
            reload=ReloadCommand(reload=reload, file=lambda: self._config.origin.file),
            last_reload=self.last_reload,
            others=self._others,
            clock=self.clock,
        )
        self._control = ControlSocket(self._commands.answer)
        self._handovers = Handovers(certificates=self.certificates, root=config.cache_directory, clock=self.clock)
        self.certificates.alarms.add(self._handovers.alarms)
        self.certificates.alarms.add(
            partial(self.certificates.authorities.root_alarms, self.certificates.renewer.fleet.lineages)
        )
        self._alerts = Alerts(certificates=self.certificates, others=self._told, clock=self.clock)
        self._pages: AdminPages | None = None
        self._admin: AdminListener | None = None
        self._working: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Read what the cache knows. Blocks; raises StoreError."""
        self.certificates.open()

    async def apply(self, config: Config) -> None:
        """Take care of the names of `config`, and show pages where it says. Raises ReloadRefused."""
        admin, addresses = self._admin, config.admin.listen
        if admin is None:  # before the start
            await self.certificates.apply(config)
        else:
            try:
                pages = admin.changed(addresses)
            except ListenError as error:
                raise ReloadRefused(str(error)) from error
            try:
                await self.certificates.apply(config)
            except BaseException:
                admin.drop(pages)
                raise
            admin.use(addresses, pages)
        self._handovers.use(config)
        self._alerts.use(config.alerts)
        self.log_files.use(config.log.access.file if config.log.access else None)
        await self._user_files.look(config)
        self._config = config

    def start(self, tasks: asyncio.TaskGroup, *, counted: Counted, upstreams: Callable[[], Iterable[str]]) -> None:
        """Order, renew, take commands and show pages from now on."""
        self._tasks = tasks
        chosen = self._started.admin.socket
        self._control.listen([*candidates(chosen, self._started.cache_directory), *last_resorts(chosen)])
        orders = self.certificates.run(self._commands.before_orders)
        tellers = self._handovers.run(), self._alerts.run()
        for work in (self._control.run(), orders, self._commands.go_on(), *tellers, self._tell_status()):
            self._working.append(tasks.create_task(work))
        self._pages = AdminPages(
            counted=counted,
            upstreams=upstreams,
            certificates=self.certificates,
            commands=self._commands,
            alerts=self._alerts.counts,
            handovers=self._handovers.counts,
            config=lambda: self._config,
            last_reload=self.last_reload,
            others=self._others,
            clock=self.clock,
        )
        self._admin = AdminListener(self._pages, names=(socket.gethostname().lower(),))
        self._admin.listen(self._started.admin.listen)
        self._shown = tasks.create_task(self._admin.run())

    def stop(self) -> None:
        """Begin nothing new; harmless twice. The pages are shown until `end`: they tell that we stop."""
        if self._pages is not None:
            self._pages.is_stopping = True
        if self._stopping is None and self._working:
            self._stopping = self._tasks.create_task(self._stop())

    def end(self) -> None:
        """Do and show nothing any more."""
        for task in (*self._working, self._shown, self._stopping):
            if task is not None:
                task.cancel()

    async def _stop(self) -> None:
        """Stop when the cache was read: who came before the stop may wait for what it has."""
        await self.certificates.ready()
        for task in self._working:
            task.cancel()

    async def close(self) -> None:
        """Tell what has to be told, keep what has to be kept."""
        await self._alerts.close()
        await self.certificates.close()

    def _installed(self) -> None:
        self._status_line.changed()
        self._handovers.look()

    def _others(self) -> dict[str, Alarm]:
        """Return what is wrong beside clock, cache, configuration and certificates, by its key in `status`."""
        found = {"access_log": self.log_files.alarm, "user_file": self._user_files.alarm}
        return {key: alarm for key, alarm in found.items() if alarm is not None}

    def _told(self) -> list[Alarm]:
        """Return what people are told beside clock and cache, and certificates."""
        return [*([self.last_reload.alarm] if self.last_reload.alarm else []), *self._others().values()]

    def status(self) -> str:
        """Return in one line how things are."""
        return self._status_line.text

    async def _tell_status(self) -> None:
        await self.certificates.ready()
        await self._status_line.run()

    def _status_words(self) -> Callable[[], str]:
        facts, now, memory = self.certificates.facts(), self.clock.now(), self.certificates.memory
        doubt, cache = self.certificates.clock_guard.doubt, self.certificates.alarms.cache
        troubles = [one.reason for one in (doubt, cache, *self._others().values()) if one]

        def brief(host: Hostname) -> str:
            about = [one for one in facts if host in one.plan.lineage.names]
            failure = next((found for one in about for found in failures_of(one, now)), None)
            events = merged([memory.history(name) for name in names_of(host, about)]) if failure else []
            return diagnose(failure.name or host, failure, events).brief if failure else ""

        def words() -> str:  # values only: 10,000 rows must not stop the loop
            return status_words(host_statuses(facts, now), brief, troubles)

        return words
