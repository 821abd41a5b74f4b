"""All upstreams of a configuration: what a reload leaves as it was keeps its connections and what is known of it."""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

from proxyd.config.host import Health, HostOptions, UpstreamTls
from proxyd.config.regular_file import read_regular
from proxyd.config.upstream_trust import UpstreamTlsError, upstream_context
from proxyd.config.values import UpstreamAddress
from proxyd.core.balance import Policy
from proxyd.core.counters import Counters, UpstreamState
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.passive_health import Experience, PassiveHealth
from proxyd.core.shared_counts import SharedCounts
from proxyd.upstream.addresses import AddressBook
from proxyd.upstream.dialer import Dialer
from proxyd.upstream.group import UpstreamGroup
from proxyd.upstream.health import HealthCheck
from proxyd.upstream.pool import UpstreamPool
from proxyd.upstream.shared_pool import SharedPool

_log = logging.getLogger("proxyd.upstream")
#: More requests than this are never under way.
_MANY = 1 << 30
#: So much of a file that verifies upstreams tells whether it changed: a bundle of all CAs has a quarter of a MiB.
_LONGEST = 16 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Trust:
    """How upstreams are verified, and the state of the files it was made from."""

    files: bytes
    context: ssl.SSLContext | UpstreamTlsError


@dataclass(frozen=True, slots=True)
class _PoolKey:
    """What makes an upstream another one: nothing goes on over connections that were verified otherwise."""

    address: UpstreamAddress
    tls: UpstreamTls
    trust: _Trust | None
    health: Health | None
    most: int

    @property
    def check(self) -> str:
        """Return what all processes call the checks of this upstream."""
        return f"{self.address} {self.tls!r} {self.health!r}"


#: By the names of checks.
Verdicts = dict[str, bool]
_GroupKey = tuple[tuple[_PoolKey, ...], Policy]


@dataclass(slots=True)
class Upstreams:
    """Those of one configuration. `asked_for`: the Host that a check asks for, None: the upstream's own."""

    pools: dict[_PoolKey, UpstreamPool] = field(default_factory=dict)
    groups: dict[_GroupKey, UpstreamGroup] = field(default_factory=dict)
    trust: dict[UpstreamTls, _Trust] = field(default_factory=dict)
    checks: dict[_PoolKey, HealthCheck] = field(default_factory=dict)
    pools_by_check: dict[str, list[UpstreamPool]] = field(default_factory=dict)
    checks_by_name: dict[str, list[HealthCheck]] = field(default_factory=dict)
    asked_for: dict[_PoolKey, bytes | None] = field(default_factory=dict)

    def group(self, options: HostOptions, addresses: tuple[UpstreamAddress, ...] | None = None) -> UpstreamGroup:
        """Return the upstreams of a host, or those of one of its paths."""
        return self.groups[_group_key(options.upstream if addresses is None else addresses, options, self.trust)]


class Pools:
    """Hosts with the same upstream, and the same options for it, share one pool.

    `counts`: what the processes of the daemon count together. `checks`: whether the health of upstreams is asked for
    here, and `judged` hears of it; else `judge` tells it. `noticed` hears what requests tell of upstreams, by what all
    processes call their checks; `learn` tells what those of other processes do.
    """

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        counters: Counters,
        counts: SharedCounts | None = None,
        checks: bool = True,
        judged: Callable[[Verdicts], None] = lambda _: None,
        noticed: Callable[[str, Experience], None] = lambda *_: None,
    ) -> None:
        self._tasks = tasks
        self._counters = counters
        self._counts = counts
        self._runs_checks = checks
        self._judged = judged
        self._noticed = noticed
        self._verdicts: Verdicts = {}
        self._book = AddressBook(tasks=tasks)
        self._now = Upstreams()
        self._checking: dict[_PoolKey, asyncio.Task[None]] = {}

    def prepare(self, hosts: Mapping[Hostname | HostPattern, HostOptions], *, at_once: int = _MANY) -> Upstreams:
        """Make what `hosts` need; what is in use and stays is in it. Reads files: not for the event loop.

        `at_once`: so many requests can be under way.
        """
        found = Upstreams()
        for host, options in _all_asked(hosts):
            for addresses in _upstreams(options):
                if _speak_tls(addresses) and options.upstream_tls not in found.trust:
                    found.trust[options.upstream_tls] = self._trusted(options.upstream_tls)
                key = _group_key(addresses, options, found.trust)
                for one in key[0]:
                    if one not in found.pools:
                        self._make(one, found, at_once)
                    if found.asked_for.get(one) is None:
                        found.asked_for[one] = _asked_for(host, options)
                if key not in found.groups:
                    pools = [found.pools[one] for one in key[0]]
                    found.groups[key] = self._now.groups.get(key) or UpstreamGroup(pools, key[1])
        return found

    def adopt(self, upstreams: Upstreams) -> None:
        """Take over what was prepared and is picked from now on, and let go what is not in it."""
        before, self._now = self._now, upstreams
        for key in before.pools.keys() - upstreams.pools.keys():
            before.pools[key].close()
        for key in self._checking.keys() - upstreams.checks.keys():
            self._checking.pop(key).cancel()
        for key, check in upstreams.checks.items():
            check.host = upstreams.asked_for[key] or key.address.host_field
            if self._runs_checks and key not in self._checking:
                self._checking[key] = self._tasks.create_task(check.run())
        if not self._runs_checks:
            self.judge(self._verdicts)
        self._book.forget_all_but({key.address.host for key in upstreams.pools})

    def judge(self, verdicts: Verdicts) -> None:
        """Go by the checks of another process."""
        self._verdicts |= verdicts
        for name, verdict in verdicts.items():
            for check in self._now.checks_by_name.get(name, ()):
                check.state.is_healthy = verdict

    def learn(self, check: str, experience: Experience) -> None:
        """Go by what requests told another process."""
        for pool in self._now.pools_by_check.get(check, ()):
            pool.passive.learn(experience)

    def states(self) -> dict[str, UpstreamState]:
        """Return how each upstream is, by its address: one that hosts use in several ways is out when one way is."""
        now, found = monotonic(), dict[str, UpstreamState]()
        for pool in self._now.pools.values():
            state = found.get(pool.name, UpstreamState(0, False))
            found[pool.name] = UpstreamState(state.in_flight + pool.active, state.is_out or pool.is_out(now))
        return found

    def close(self) -> None:
        """End all checks and close what is idle."""
        self.adopt(Upstreams())
        self._book.close()

    def _make(self, key: _PoolKey, into: Upstreams, at_once: int) -> None:
        pool, check = self._now.pools.get(key), self._now.checks.get(key)
        if pool is None:
            trust = key.trust.context if key.trust is not None else None
            dialer = Dialer(key.address, tls=key.tls, trust=trust, book=self._book)
            if key.health is not None:
                check = HealthCheck(dialer, key.health, judged=lambda verdict: self._judged({key.check: verdict}))
            passive = PassiveHealth(lambda experience: self._noticed(key.check, experience))
            make: Callable[..., UpstreamPool] = UpstreamPool
            if self._counts is not None and key.most < at_once:
                make = partial(SharedPool, counts=self._counts, name=f"{key.check} {key.most}")
            pool = make(
                dialer,
                tasks=self._tasks,
                most=key.most,
                checked=check.state if check else None,
                passive=passive,
                errors=self._counters.upstream(str(key.address)),
                answers=self._counters.answers(str(key.address)),
            )
        into.pools[key] = pool
        into.pools_by_check.setdefault(key.check, []).append(pool)
        if check is not None:
            into.checks[key] = check
            into.checks_by_name.setdefault(key.check, []).append(check)

    def _trusted(self, tls: UpstreamTls) -> _Trust:
        """What cannot be read any more serves on as it was."""
        before, files = self._now.trust.get(tls), _state(tls)
        if before is not None and before.files == files and not isinstance(before.context, UpstreamTlsError):
            return before
        try:
            return _Trust(files, upstream_context(tls))
        except UpstreamTlsError as error:
            kept = None if before is None or isinstance(before.context, UpstreamTlsError) else before
            then = "the files as they were serve on" if kept else "its upstreams are not connected to"
            extra = {"key": f"{tls.place}.{error.key}", "reason": str(error), "then": then}
            _log.error("a file for verifying upstreams cannot be used", extra=extra)
            return kept or _Trust(files, error)


def _all_asked(
    hosts: Mapping[Hostname | HostPattern, HostOptions],
) -> Iterable[tuple[Hostname | HostPattern, HostOptions]]:
    """Yield hosts with their upstreams, and with the servers that say who may pass as if they were such."""
    for host, options in hosts.items():
        yield host, options
        if (server := options.auth_server) is not None:
            yield host, server


def _asked_for(host: Hostname | HostPattern, options: HostOptions) -> bytes | None:
    """Return the Host that the application knows, None where it is its own."""
    return host.authority.encode() if isinstance(host, Hostname) and options.host_header == "keep" else None


def _upstreams(options: HostOptions) -> Iterable[tuple[UpstreamAddress, ...]]:
    if options.upstream:
        yield options.upstream
    for route in options.paths.values():
        if route.upstream:
            yield route.upstream


def _group_key(
    addresses: tuple[UpstreamAddress, ...], options: HostOptions, trust: Mapping[UpstreamTls, _Trust]
) -> _GroupKey:
    health, most = options.health, options.max_upstream_connections
    with_tls = options.upstream_tls, trust.get(options.upstream_tls)
    keys = (_PoolKey(one, *(with_tls if one.scheme == "https" else _NO_TLS), health, most) for one in addresses)
    return tuple(keys), options.balance


def _speak_tls(addresses: tuple[UpstreamAddress, ...]) -> bool:
    return any(one.scheme == "https" for one in addresses)


_NO_TLS = UpstreamTls(), None


def _state(tls: UpstreamTls) -> bytes:
    """Return what changes when the files do; without a CA of one's own, when the system's do."""
    state = hashlib.sha256()
    for file in (tls.ca, tls.cert, tls.key):
        if file is None:
            state.update(b"-")
            continue
        try:
            state.update(hashlib.sha256(read_regular(file, _LONGEST)).digest())
        except OSError as error:
            state.update(str(error).encode())
    if tls.ca is None and tls.pin is None:
        paths = ssl.get_default_verify_paths()
        for system in (Path(one) for one in (paths.cafile, paths.capath) if one):
            if system.exists():
                state.update(str(system.stat().st_mtime_ns).encode())
    return state.digest()
