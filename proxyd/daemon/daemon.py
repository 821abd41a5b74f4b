"""One process that runs everything: wires the parts, reloads, drains."""

import asyncio
import logging
import random
import signal
from collections.abc import Callable

from proxyd.admin.admin_listener import AdminListener
from proxyd.admin.control_address import candidates, last_resorts
from proxyd.admin.control_socket import ControlSocket
from proxyd.config.document import ConfigError
from proxyd.config.model import Config
from proxyd.config.values import ListenAddress
from proxyd.core.clock import MachineClock
from proxyd.core.counters import Counters
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.daemon.admin_pages import AdminPages
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.commands import Commands
from proxyd.daemon.garbage import building, keep_all
from proxyd.daemon.logs import access_line, set_up, write_lines
from proxyd.daemon.loop_lag import LoopLag
from proxyd.daemon.sites import Sites
from proxyd.daemon.systemd import StatusLine, notify, notify_reloading
from proxyd.frontend.arrival import ArrivalGate
from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.head_reader import HeadLimits
from proxyd.frontend.listener import Listener, bind
from proxyd.frontend.plain import PlainFrontend
from proxyd.frontend.plain_handler import PlainHandler
from proxyd.frontend.seats import Seats
from proxyd.frontend.tls_frontend import TlsFrontend
from proxyd.issuance.steady_clock import SteadyClock
from proxyd.proxy.access_log import AccessLog
from proxyd.proxy.date_line import DateLine
from proxyd.proxy.handler import Handler
from proxyd.proxy.snapshot import Snapshot
from proxyd.proxy.times import Times
from proxyd.proxy.traffic import Traffic
from proxyd.tls.certificate_table import CertificateTable
from proxyd.upstream.pools import Pools
from proxyd.version import RELEASED

_log = logging.getLogger("proxyd.daemon")


class Daemon:
    """Serves a configuration until told to stop. `load` reads it anew for a reload and raises ConfigError."""

    def __init__(self, config: Config, *, load: Callable[[], Config], clock: MachineClock, rng: random.Random) -> None:
        steady = SteadyClock(clock, released=RELEASED)
        self._config = self._started = config  # listen, cache and admin stay as they were at the start
        self._load = load
        self._table = CertificateTable()
        self._clock = steady
        self._counters = Counters()
        self._traffic = Traffic(clock=steady)
        limits = config.limits
        self._seats = Seats(
            most=limits.max_connections, most_each=limits.max_connections_per_ip, counters=self._counters
        )
        self._certificates = Certificates(
            config,
            table=self._table,
            listening_at=self._listening_at,
            installed=StatusLine(self._status).changed,
            traffic=self._traffic,
            clock=steady,
            rng=rng,
        )
        self._commands = Commands(
            certificates=self._certificates, cache=config.cache_directory, config=lambda: self._config, clock=steady
        )
        self._control = ControlSocket(self._commands.answer)
        self._access = AccessLog(access_line(config.log.format), write=write_lines, clock=steady)
        date = DateLine(steady)
        self._handler = Handler(self._traffic, log=self._access, date=date, counters=self._counters)
        self._plain = PlainHandler(
            answer=self._certificates.board.answer,
            arrived=self._certificates.hits.by_http,
            nonce=self._certificates.names.self_check.answer,
            takes=self._handler.takes_plain,
            traffic=self._traffic,
            https_port=self._https_port,
            date=date,
            count=self._handler.count,
        )
        self._sites = Sites(self._counters)
        self._listeners: list[Listener] = []

    async def run(self) -> None:
        """Serve until TERM or INT, then drain. Raises StoreError, ListenError, OSError before it serves."""
        stop, reload = _signals()  # first of all: they would end a process that does not listen yet
        _log_warnings(self._config)
        self._certificates.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._serve(tasks, stop, reload)
        finally:
            await self._certificates.close()

    async def _serve(self, tasks: asyncio.TaskGroup, stop: asyncio.Event, reload: asyncio.Event) -> None:
        gate = ArrivalGate(Networks(self._config.listen.proxy_protocol), hit=self._counters.hit)
        pools = Pools(tasks=tasks, counters=self._counters)
        h1 = H1Frontend(
            self._handler,
            swept=self._access.flush,
            limits=self._head_limits,
            fast_path=self._config.fast_path,
            times=self._times,
            hit=self._counters.hit,
        )
        tls = TlsFrontend(
            table=self._table,
            challenges=self._certificates.challenges,
            on_demand=self._certificates.on_demand,
            cache_read=self._certificates.cache_read,
            default_for=self._default_for,
            gate=gate,
            seats=self._seats,
            h1=h1,
            counters=self._counters,
            tasks=tasks,
        )
        plain = PlainFrontend(self._plain, gate=gate, seats=self._seats, tasks=tasks, hit=self._counters.hit)
        listen = self._config.listen
        try:
            https = _listeners(listen.https, tls.accepted, key="listen.https")
            self._listeners += https
            http = _listeners(listen.http, plain.accepted, key="listen.http")
            self._listeners += http
            await self._apply(self._config, pools)
            for listener in self._listeners:
                listener.start()
        except BaseException:
            for listener in self._listeners:
                listener.stop()
            raise
        for name, group in (("https", https), ("http", http)):
            _log.info("listening", extra={"on": name, "address": ", ".join(one.address for one in group) or "nothing"})
        keep_all()
        chosen = self._config.admin.socket
        self._control.listen([*candidates(chosen, self._config.cache_directory), *last_resorts(chosen)])
        pages = AdminPages(
            counters=self._counters,
            upstreams=pools.states,
            certificates=self._certificates,
            commands=self._commands,
            config=lambda: self._config,
            clock=self._clock,
        )
        admin = AdminListener(pages)
        admin.listen(self._config.admin.listen)
        notify("READY=1", f"STATUS={self._status()}")
        shown = [tasks.create_task(one.run()) for one in (admin, LoopLag(self._counters))]
        controlled = tasks.create_task(self._control.run())
        renewing = tasks.create_task(self._certificates.run(self._commands.before_orders))
        going_on = tasks.create_task(self._commands.go_on())
        reloading = tasks.create_task(self._reload_on(reload, pools))
        await stop.wait()
        notify("STOPPING=1")
        pages.is_stopping = True
        _log.info("stopping: finishing what is in flight", extra={"at_most": self._config.drain})
        for task in (renewing, going_on, reloading, controlled):
            task.cancel()
        for listener in self._listeners:
            listener.stop()
        seconds = self._config.drain.total_seconds()
        await asyncio.gather(h1.drain(seconds), plain.drain(seconds))
        pools.close()
        for task in shown:
            task.cancel()
        _log.info("stopped")

    async def _apply(self, config: Config, pools: Pools) -> None:
        """Make `config` what is served: everything is prepared first, then swapped at once."""
        await self._certificates.apply(config)
        upstreams = await asyncio.to_thread(lambda: pools.prepare(config.served))
        sites = await asyncio.to_thread(lambda: self._sites.table(config, upstreams))
        trusted = Networks(config.trusted_proxies)
        self._seats.most, self._seats.most_each = config.limits.max_connections, config.limits.max_connections_per_ip
        self._seats.crowds = trusted
        self._handler.snapshot = Snapshot(
            sites=sites,
            trusted=trusted,
            default_host=config.default_host,
            ready_path=config.ready_path.encode() if config.ready_path else None,
            access_log=config.log.access is not None,
        )
        self._plain.hosts = sites
        pools.adopt(upstreams)
        self._config = config

    async def _reload_on(self, wish: asyncio.Event, pools: Pools) -> None:
        while True:
            await wish.wait()
            wish.clear()
            notify_reloading()
            try:
                old = self._config
                with building():
                    config = await asyncio.to_thread(self._load)
                    await self._apply(config, pools)
            except ConfigError as error:
                for mistake in error.mistakes:
                    text = " ".join(mistake.show(error.file).split())
                    _log.error("reload refused, nothing changed", extra={"mistake": text})
            else:
                _log_warnings(config)
                await asyncio.to_thread(_log_changes, old, config, self._started)  # compares every host
                set_up(level=config.log.level, format=config.log.format)
                self._access.show = access_line(config.log.format)
                _log.info("reloaded", extra={"hosts": len(config.served)})
            notify("READY=1", f"STATUS={self._status()}")

    def _default_for(self, client: str) -> Hostname | None:
        """Return whose certificate a client gets that sends no name: a proxy of ours seldom looks at it."""
        snapshot = self._handler.snapshot
        return snapshot.default_host or (self._table.first() if snapshot.trusted.has(client) else None)

    def _status(self) -> str:
        names = self._config.names
        ready = sum(1 for host in names if self._table.certificate(host) is not None)
        return f"{ready} of {len(names)} hosts have a certificate"

    def _head_limits(self) -> HeadLimits:
        limits = self._config.limits
        return HeadLimits(size=limits.max_header, fields=limits.max_header_count, target=limits.max_uri)

    def _times(self, host: Hostname | None) -> Times:
        site = self._handler.snapshot.sites.get(host) if host is not None else None
        return site.times if site is not None else Times()

    def _https_port(self) -> int:
        return self._listeners[0].port if self._started.listen.https else 443

    def _listening_at(self) -> tuple[str, int] | None:
        return self._listeners[0].local_address if self._started.listen.https and self._listeners else None


def _listeners(addresses: tuple[ListenAddress, ...], accepted: Callable[..., None], *, key: str) -> list[Listener]:
    return [Listener(sock, accepted) for address in addresses for sock in bind(address, key=key)]


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    return stop, reload


def _log_warnings(config: Config) -> None:
    for warning in config.warnings:
        _log.warning("look at the configuration", extra={"at": warning})


def _log_changes(old: Config, new: Config, started: Config) -> None:
    before, after = old.served, new.served
    for host in sorted(after.keys() - before.keys(), key=str):
        _log.info("host added", extra={"host": host})
    for host in sorted(before.keys() - after.keys(), key=str):
        _log.info("host removed; its certificate stays in the cache", extra={"host": host})
    for host in sorted(after.keys() & before.keys(), key=str):
        if after[host] != before[host]:
            _log.info("host changed", extra={"host": host})
    for key in ("listen", "cache", "admin", "fast_path"):
        if getattr(new, key) != getattr(started, key):
            _log.warning("this change takes effect at the next restart", extra={"key": key})
