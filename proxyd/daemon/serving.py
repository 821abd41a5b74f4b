"""The half of the daemon that serves clients: listeners, TLS, requests, upstreams."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from proxyd.config.model import Config
from proxyd.core.clock import Clock
from proxyd.core.counters import Counters, Document
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.core.passive_health import Experience
from proxyd.core.rate_limit import RateTable
from proxyd.core.shared_counts import SharedCounts
from proxyd.core.tls_policy import TlsPolicy
from proxyd.daemon.access_output import AccessOutput, Told, shown
from proxyd.daemon.listening import Sockets
from proxyd.daemon.policies import Policies
from proxyd.daemon.sites import Sites
from proxyd.frontend.arrival import ArrivalGate
from proxyd.frontend.arriving import Arriving
from proxyd.frontend.h1 import H1Frontend
from proxyd.frontend.h2.frontend import H2Frontend
from proxyd.frontend.head_reader import HeadLimits
from proxyd.frontend.listener import Listener
from proxyd.frontend.plain import PlainFrontend
from proxyd.frontend.plain_handler import PlainHandler
from proxyd.frontend.seats import Seats
from proxyd.frontend.tls_frontend import TlsFrontend
from proxyd.issuance.challenge_board import ChallengeBoard
from proxyd.issuance.on_demand import Outcome
from proxyd.proxy.access_log import AccessLog
from proxyd.proxy.date_line import DateLine
from proxyd.proxy.exchange import Downstream
from proxyd.proxy.handler import Handler
from proxyd.proxy.snapshot import Site, Snapshot
from proxyd.proxy.times import Times
from proxyd.proxy.traffic import Traffic
from proxyd.tls.certificate_table import CertificateTable
from proxyd.tls.challenge_table import ChallengeTable
from proxyd.upstream.pools import Pools, Upstreams

_LEAVE_SECONDS = 1.0
#: On port 80, where clients get one short answer; trusted proxies send requests for the upstreams there, and keep
#: their connections.
_STRANGERS_TIMES = Times(header=10.0, keepalive=10.0)
#: So long a client that was accepted before a stop has for its handshake and its request.
_ARRIVING_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What serving asks of the half that obtains certificates, in this process or another one."""

    table: CertificateTable
    challenges: ChallengeTable
    board: ChallengeBoard
    #: Waits for a bounded time until the cache was read for a name; false: it was not.
    cache_read: Callable[[Hostname], Awaitable[bool]]
    #: Waits for a bounded time for the certificate of a name under a wildcard host; given the client's address too.
    obtain: Callable[[str | None, str], Awaitable[Outcome]]
    #: Hears of a validation request on port 80: name, client, token, agent.
    arrived: Callable[[Hostname, str, str, str], None]
    #: Answers a look of our own at port 80, or returns None.
    nonce: Callable[[str], str | None]
    #: How often the certificate of a name was renewed.
    renewals: Callable[[Hostname], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A configuration with all that is made of it beforehand."""

    config: Config
    upstreams: Upstreams
    policies: HostTable[TlsPolicy]
    sites: HostTable[Site]


class Serving:
    """Serves the configuration that was adopted last.

    `counts`, `rates`: what all processes count together. `log_told` hears, in another thread, of an access log that
    cannot be written.
    """

    def __init__(
        self,
        config: Config,
        *,
        source: Source,
        traffic: Traffic,
        log_told: Told,
        rates: RateTable,
        counts: SharedCounts | None = None,
        clock: Clock,
    ) -> None:
        self._config = self._started = config  # what is made of it once and for all
        self._source = source
        self.counters = counters = Counters()
        limits = config.limits
        self.seats = Seats(
            most=limits.max_connections, most_each=limits.max_connections_per_ip, counters=counters, counts=counts
        )
        self._counts = counts
        self._output = AccessOutput(log_told)
        self._access = AccessLog(shown(config.log), write=self._output.write, clock=clock)
        date = DateLine(clock)
        self._handler = Handler(traffic, log=self._access, date=date, counters=counters)
        self._plain_handler = PlainHandler(
            answer=source.board.answer,
            arrived=source.arrived,
            nonce=source.nonce,
            takes=self._handler.takes_plain,
            traffic=traffic,
            https_port=lambda: self._https_port,
            date=date,
            count=self._handler.count,
        )
        self._sites = Sites(counters, rates, source.renewals)
        self._policies = Policies()
        self._head_limits = _head_limits(config)
        self._https_port = 443
        self._listeners: dict[socket.socket, Listener] = {}
        self._accepts = False

    def open(
        self,
        sockets: Sockets,
        tasks: asyncio.TaskGroup,
        *,
        checks: bool = True,
        noticed: Callable[[str, Experience], None] = lambda *_: None,
    ) -> None:
        """Make everything that needs the event loop; nothing is accepted before `start`.

        `checks`, `noticed`: see Pools.
        """
        hit = self.counters.hit
        gate = ArrivalGate(Networks(self._started.listen.proxy_protocol), hit=hit)
        self._arriving = Arriving(tasks)
        self.pools = Pools(tasks=tasks, counters=self.counters, counts=self._counts, checks=checks, noticed=noticed)
        self._h1 = H1Frontend(
            self._handler,
            swept=self._access.flush,
            limits=lambda: self._head_limits,
            fast_path=self._started.fast_path,
            times=self._times,
            hit=hit,
        )
        self._h2 = H2Frontend(
            self._handler,
            swept=self._access.flush,
            limits=lambda: self._config.limits.http2,
            heads=lambda: self._head_limits,
            times=self._times,
            hit=hit,
            is_crowd=lambda client: self._handler.snapshot.trusted.has(client),
        )
        tls = TlsFrontend(
            table=self._source.table,
            challenges=self._source.challenges,
            obtain=self._source.obtain,
            cache_read=self._source.cache_read,
            default_for=self._default_for,
            gate=gate,
            seats=self.seats,
            h1=self._h1,
            h2=self._h2,
            counters=self.counters,
            arriving=self._arriving,
        )
        self._plain_h1 = H1Frontend(
            self._plain_handler,
            swept=self._access.flush,
            limits=lambda: self._head_limits,
            times=lambda _, client: Times() if self._handler.snapshot.trusted.has(client) else _STRANGERS_TIMES,
            hit=hit,
        )
        self._fronts = self._h1, self._h2, self._plain_h1
        plain = PlainFrontend(gate=gate, seats=self.seats, h1=self._plain_h1, arriving=self._arriving)
        self._accepted = tls.accepted, plain.accepted
        self.listen(sockets)

    def listen(self, sockets: Sockets) -> None:
        """Accept from these sockets, and from no others any more; those are closed."""
        before, self._listeners = self._listeners, {}
        for group, accepted in zip((sockets.https, sockets.http), self._accepted, strict=True):
            for sock in group:
                listener = before.pop(sock, None)
                if listener is None:
                    listener = Listener(sock, accepted)
                    if self._accepts:
                        listener.start()
                self._listeners[sock] = listener
        if sockets.https_at is not None:
            self._https_port = sockets.https_at[1]
        for listener in before.values():
            listener.stop()
        if before:
            self._leave(monotonic() + self._config.drain.total_seconds())

    async def prepare(self, config: Config) -> Prepared:
        """Make what serving `config` needs; nothing of it is used before `adopt`."""
        upstreams = await asyncio.to_thread(
            lambda: self.pools.prepare(config.served, at_once=config.limits.max_connections)
        )
        policies = await asyncio.to_thread(lambda: self._policies.of(config))
        sites = await asyncio.to_thread(lambda: self._sites.table(config, upstreams, policies))
        return Prepared(config=config, upstreams=upstreams, policies=_table(policies), sites=sites)

    def adopt(self, prepared: Prepared) -> None:
        """Serve what was prepared, from the next request on."""
        config = prepared.config
        trusted = Networks(config.trusted_proxies)
        self.seats.most, self.seats.most_each = config.limits.max_connections, config.limits.max_connections_per_ip
        self.seats.crowds = trusted
        self._handler.snapshot = Snapshot(
            sites=prepared.sites,
            trusted=trusted,
            default_host=config.default_host,
            ready_path=config.ready_path.encode() if config.ready_path else None,
            access_log=config.log.access is not None,
        )
        self._plain_handler.hosts = prepared.sites
        self._source.table.keep_to(prepared.policies)
        self.pools.adopt(prepared.upstreams)
        self._access.flush()
        self._access.show = self._output.use(config.log)
        self._head_limits = _head_limits(config)
        for front in self._fronts:
            front.part(self._is_over)
        asyncio.get_running_loop().call_later(config.drain.total_seconds(), self._cut_gone)
        self._config = config

    def has(self, host: Hostname) -> bool:
        """Return whether a name is served, by its own entry or a wildcard host's."""
        return self._handler.snapshot.sites.get(host) is not None

    def counted(self) -> Document:
        """Return what was counted so far."""
        return self.counters.document(self.pools.states(), sum((one.standing() for one in self._fronts), Counter()))

    def start(self) -> None:
        """Accept connections from now on."""
        self._accepts = True
        for listener in self._listeners.values():
            listener.start()

    def stop(self) -> None:
        """Accept no more."""
        for listener in self._listeners.values():
            listener.stop()

    async def drain(self) -> None:
        """Accept no more, finish what is in flight, and cut what takes longer than `drain`."""
        self.stop()
        seconds, began = self._config.drain.total_seconds(), monotonic()
        for front in self._fronts:
            front.begin_drain()
        await self.seats.vacated(min(seconds, _ARRIVING_SECONDS))
        left = max(0.0, began + seconds - monotonic())
        await asyncio.gather(*(front.drain(left) for front in self._fronts))
        self._arriving.cut()  # who stalls in a hello holds up no restart
        self.pools.close()
        self._sites.attempts.passwords.close()
        await asyncio.to_thread(self._output.close)

    def reopen_log(self) -> None:
        """Open the access log's file anew: it was moved away."""
        self._access.flush()
        self._output.reopen()

    def _cut_gone(self) -> None:
        """Cut what is still in flight for hosts that were removed, or whose clients have to prove otherwise by now."""
        for front in self._fronts:
            front.part(self._is_over)  # and who was in a handshake at the change
            front.cut(self._handler.keeps)

    def _leave(self, until: float) -> None:
        """End connections to where we listen no more: when they are idle, at the latest at the end of the drain."""
        is_over = monotonic() >= until
        left = [one.leave(self._is_left, at_once=is_over) for one in self._fronts]
        if any(left) and not is_over:
            asyncio.get_running_loop().call_later(_LEAVE_SECONDS, self._leave, until)

    def _is_left(self, address: tuple[Any, ...]) -> bool:
        host, port = address[:2]
        places = (sock.getsockname()[:2] for sock in self._listeners)
        return not any(port == of and at in (host, "0.0.0.0", "::") for at, of in places)

    def _is_over(self, downstream: Downstream) -> bool:
        """Return whether the handshake of a connection would be another one now; a host that is gone has none."""
        host = downstream.host
        return host is not None and self.has(host) and downstream.policy != self._source.table.policy(host)

    def _default_for(self, client: str, server_name: str | None) -> Hostname | None:
        """Return whose certificate a client gets that sends no name, or an unknown one: proxies seldom look at it."""
        snapshot = self._handler.snapshot
        return snapshot.default_host if not server_name or snapshot.trusted.has(client) else None

    def _times(self, host: Hostname | None, _client: str) -> Times:
        site = self._handler.snapshot.sites.get(host) if host is not None else None
        return site.times if site is not None else Times()


def _table(policies: Mapping[Hostname | HostPattern, TlsPolicy]) -> HostTable[TlsPolicy]:
    return HostTable(
        {host: one for host, one in policies.items() if isinstance(host, Hostname)},
        {host: one for host, one in policies.items() if isinstance(host, HostPattern)},
    )


def _head_limits(config: Config) -> HeadLimits:
    limits = config.limits
    return HeadLimits(size=limits.max_header, fields=limits.max_header_count, target=limits.max_uri)
