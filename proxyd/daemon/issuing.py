"""The half of the daemon that obtains certificates and answers commands."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

from proxyd.admin.admin_listener import AdminListener
from proxyd.admin.control_address import candidates, last_resorts
from proxyd.admin.control_socket import ControlSocket
from proxyd.config.model import Config
from proxyd.core.clock import MachineClock
from proxyd.daemon.admin_pages import AdminPages, Counted
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.commands import Commands
from proxyd.daemon.last_reload import LastReload
from proxyd.daemon.reload import Reloaded, ReloadRefused
from proxyd.daemon.reload_command import ReloadCommand
from proxyd.daemon.systemd import Notify, StatusLine
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
        self._config = self._started = config
        self.certificates = Certificates(
            config,
            table=self.table,
            listening_at=listening_at,
            installed=StatusLine(self.status, notify).changed,
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
            clock=self.clock,
        )
        self._control = ControlSocket(self._commands.answer)
        self._pages: AdminPages | None = None
        self._admin: AdminListener | None = None
        self._working: list[asyncio.Task[None]] = []

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
        self._config = config

    def start(self, tasks: asyncio.TaskGroup, *, counted: Counted, upstreams: Callable[[], Iterable[str]]) -> None:
        """Order, renew, take commands and show pages from now on."""
        chosen = self._started.admin.socket
        self._control.listen([*candidates(chosen, self._started.cache_directory), *last_resorts(chosen)])
        for work in (self._control.run(), self.certificates.run(self._commands.before_orders), self._commands.go_on()):
            self._working.append(tasks.create_task(work))
        self._pages = AdminPages(
            counted=counted,
            upstreams=upstreams,
            certificates=self.certificates,
            commands=self._commands,
            config=lambda: self._config,
            last_reload=self.last_reload,
            clock=self.clock,
        )
        self._admin = AdminListener(self._pages)
        self._admin.listen(self._started.admin.listen)
        self._shown = tasks.create_task(self._admin.run())

    def stop(self) -> None:
        """Begin nothing new. The pages are shown until `end`: they tell that we stop."""
        if self._pages is not None:
            self._pages.is_stopping = True
        for task in self._working:
            task.cancel()

    def end(self) -> None:
        """Show nothing any more."""
        self._shown.cancel()

    async def close(self) -> None:
        """Keep what has to be kept."""
        await self.certificates.close()

    def status(self) -> str:
        """Return in one line how things are."""
        names = self._config.names
        ready = sum(1 for host in names if self.table.certificate(host) is not None)
        hosts = f"{ready} of {len(names)} hosts have a certificate"
        return f"{hosts}; {self.last_reload.words}" if self.last_reload.words else hosts
