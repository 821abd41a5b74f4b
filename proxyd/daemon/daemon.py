"""One process that does everything: obtains certificates and serves clients."""

import asyncio
import logging
import mmap
import random
import secrets
import signal
from collections.abc import Callable

from proxyd.config.model import Config
from proxyd.core.clock import MachineClock
from proxyd.core.counters import Document
from proxyd.core.rate_limit import SIZE, RateTable
from proxyd.daemon.freed_memory import FreedMemory
from proxyd.daemon.garbage import keep_all
from proxyd.daemon.issuing import Issuing
from proxyd.daemon.listening import Listening, bound, log_listening
from proxyd.daemon.logs import tell_repeated
from proxyd.daemon.loop_lag import LoopLag
from proxyd.daemon.referred_files import ReferredFiles
from proxyd.daemon.reload import Reload, ReloadRefused, log_warnings
from proxyd.daemon.serving import Serving, Source
from proxyd.daemon.systemd import Watchdog, notify, stopping
from proxyd.daemon.watch import Watch
from proxyd.frontend.listener import ListenError

_log = logging.getLogger("proxyd.daemon")
#: For what is kept and written after the drain.
_MERCY = 10.0


class Daemon:
    """Serves a configuration until told to stop. `load` reads it anew for a reload and raises ConfigError."""

    def __init__(self, config: Config, *, load: Callable[[], Config], clock: MachineClock, rng: random.Random) -> None:
        self._config = config
        self._listening = Listening()
        self._issuing = Issuing(
            config,
            listening_at=lambda: self._listening.sockets().https_at,
            notify=notify,
            clock=clock,
            rng=rng,
            reload=lambda may_drop: self._reload.ask(may_drop=may_drop),
        )
        self._serving = Serving(
            config,
            source=source_of(self._issuing),
            traffic=self._issuing.traffic,
            log_told=lambda path, reason, lost: self._issuing.log_files.heard(0, path, reason, lost),
            rates=RateTable(memoryview(mmap.mmap(-1, SIZE)), secret=secrets.token_bytes(32)),
            clock=self._issuing.clock,
        )
        self._reload = Reload(
            config,
            load=load,
            apply=self._apply,
            notify=notify,
            status=self._issuing.status,
            last=self._issuing.last_reload,
            clock=self._issuing.clock,
        )

    async def run(self) -> None:
        """Serve until TERM or INT, then drain. Raises StoreError, ListenError, OSError before it serves."""
        # First of all: signals would end a process that does not listen yet.
        stop = signals(signal.SIGTERM, signal.SIGINT, reload=self._hang_up)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._serving.reopen_log)
        log_warnings(self._config)
        self._issuing.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._serve(tasks, stop)
        finally:
            await self._issuing.close()

    async def _serve(self, tasks: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        self._listening = bound(self._config.listen)
        try:
            self._serving.open(self._listening.sockets(), tasks)
            await self._reload.begin()
            await self._apply(self._config)
            self._serving.start()
        except BaseException:
            self._listening.close()
            raise
        keep_all()
        self._issuing.start(tasks, counted=self._counted, upstreams=self._serving.pools.states)
        log_listening(self._listening.sockets())  # last: who reads that finds admin pages and commands too
        counters = self._serving.counters
        works = (
            self._reload.run(),
            Watch(self._reload).run(),
            ReferredFiles(self._reload).run(),
            LoopLag(counters).run(),
            FreedMemory(self._serving.seats).run(),
            tell_repeated(),
        )
        working = [tasks.create_task(one) for one in works]
        notify("READY=1", f"STATUS={self._issuing.status()}")
        watched = tasks.create_task(Watchdog(notify).run())
        await stop.wait()
        notify(*stopping(self._reload.config.drain.total_seconds() + _MERCY))
        _log.info("stopping: finishing what is in flight", extra={"at_most": self._config.drain})
        self._issuing.stop()
        await self._serving.drain()
        for task in (*working, watched):
            task.cancel()
        self._issuing.end()
        _log.info("stopped")

    def _hang_up(self) -> None:
        self._serving.reopen_log()  # it may have been moved away, whatever becomes of the reload
        self._reload.want()

    async def _counted(self) -> list[Document]:
        return [self._serving.counted()]

    async def _apply(self, config: Config) -> None:
        """Make `config` what is served: everything is prepared first, then swapped at once. Raises ReloadRefused."""
        try:
            listening = self._listening.changed(config.listen)
        except ListenError as error:
            raise ReloadRefused(str(error)) from error
        try:
            prepared = await self._serving.prepare(config)
            await self._issuing.apply(config)
        except BaseException:
            listening.close(but=self._listening)
            raise
        self._serving.adopt(prepared)
        if listening != self._listening:
            before, self._listening = self._listening, listening
            listening.keep(instead_of=before)
            self._serving.listen(listening.sockets())
            log_listening(listening.sockets())


def source_of(issuing: Issuing) -> Source:
    """Return the certificates of this process as what clients are served with."""
    certificates, table = issuing.certificates, issuing.table
    return Source(
        table=table,
        challenges=certificates.challenges,
        board=certificates.board,
        cache_read=certificates.cache_read,
        obtain=certificates.on_demand.wait,
        arrived=certificates.hits.by_http,
        nonce=certificates.names.self_check.answer,
        renewals=certificates.memory.renewals.of,
    )


def signals(*ends: signal.Signals, reload: Callable[[], None]) -> asyncio.Event:
    """Return what `ends` set; HUP calls `reload`."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in ends:
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stop
