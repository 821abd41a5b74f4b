"""All upstreams of a configuration: what a reload leaves as it was keeps its connections and what is known of it."""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxyd.config.host import Health, HostOptions, UpstreamTls
from proxyd.config.upstream_trust import UpstreamTlsError, upstream_context
from proxyd.config.values import UpstreamAddress
from proxyd.core.balance import Policy
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.upstream.addresses import AddressBook
from proxyd.upstream.dialer import Dialer
from proxyd.upstream.group import UpstreamGroup
from proxyd.upstream.health import HealthCheck
from proxyd.upstream.pool import UpstreamPool

_log = logging.getLogger("proxyd.upstream")


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


_GroupKey = tuple[tuple[_PoolKey, ...], Policy]


@dataclass(slots=True)
class Prepared:
    """The upstreams of a configuration, made ready for `adopt`. `pools`: with the Host that a check asks for."""

    pools: dict[_PoolKey, str | None] = field(default_factory=dict)
    groups: set[_GroupKey] = field(default_factory=set)
    trust: dict[UpstreamTls, _Trust] = field(default_factory=dict)


class Pools:
    """Hosts with the same upstream, and the same options for it, share one pool."""

    def __init__(self, *, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._book = AddressBook(tasks=tasks)
        self._pools: dict[_PoolKey, UpstreamPool] = {}
        self._groups: dict[_GroupKey, UpstreamGroup] = {}
        self._trust: dict[UpstreamTls, _Trust] = {}
        self._checks: dict[_PoolKey, tuple[HealthCheck, asyncio.Task[None]]] = {}

    def prepare(self, hosts: Mapping[Hostname | HostPattern, HostOptions]) -> Prepared:
        """Read what the upstreams of `hosts` need, and change nothing. Blocks: not for the event loop."""
        found = Prepared()
        for host, options in hosts.items():
            for addresses in _upstreams(options):
                if _speak_tls(addresses) and options.upstream_tls not in found.trust:
                    found.trust[options.upstream_tls] = self._trusted(options.upstream_tls)
                key = _group_key(addresses, options, found.trust)
                found.groups.add(key)
                for one in key[0]:
                    if found.pools.get(one) is None:
                        found.pools[one] = _asked_for(host, options)
        return found

    def adopt(self, prepared: Prepared) -> None:
        """Take over what was prepared: new upstreams are there, others stay. What is not used any more: `retire`."""
        self._trust = prepared.trust
        for key, authority in prepared.pools.items():
            if key not in self._pools:
                self._pools[key] = self._pool(key)
            if key in self._checks:
                self._checks[key][0].authority = authority or key.address.authority
        for group in prepared.groups - self._groups.keys():
            self._groups[group] = UpstreamGroup([self._pools[one] for one in group[0]], group[1])

    def group(self, options: HostOptions, addresses: tuple[UpstreamAddress, ...] | None = None) -> UpstreamGroup:
        """Return the adopted upstreams of a host, or those of one of its paths."""
        return self._groups[_group_key(options.upstream if addresses is None else addresses, options, self._trust)]

    def retire(self, prepared: Prepared) -> None:
        """Let go what is not in `prepared`, when nobody picks it any more."""
        for group in self._groups.keys() - prepared.groups:
            del self._groups[group]
        for key in self._pools.keys() - prepared.pools.keys():
            self._drop(key)
        self._book.forget_all_but({key.address.host for key in self._pools})

    def close(self) -> None:
        """End all checks and close what is idle."""
        for key in [*self._pools]:
            self._drop(key)
        self._book.close()

    def _pool(self, key: _PoolKey) -> UpstreamPool:
        trust = key.trust.context if key.trust is not None else None
        dialer = Dialer(key.address, tls=key.tls, trust=trust, book=self._book)
        check = HealthCheck(dialer, key.health) if key.health is not None else None
        if check is not None:
            self._checks[key] = check, self._tasks.create_task(check.run())
        return UpstreamPool(dialer, tasks=self._tasks, most=key.most, checked=check.state if check else None)

    def _drop(self, key: _PoolKey) -> None:
        self._pools.pop(key).close()
        if key in self._checks:
            self._checks.pop(key)[1].cancel()

    def _trusted(self, tls: UpstreamTls) -> _Trust:
        """What cannot be read any more serves on as it was."""
        before, files = self._trust.get(tls), _state(tls)
        if before is not None and before.files == files and not isinstance(before.context, UpstreamTlsError):
            return before
        try:
            return _Trust(files, upstream_context(tls))
        except UpstreamTlsError as error:
            kept = None if before is None or isinstance(before.context, UpstreamTlsError) else before
            then = "the files as they were serve on" if kept else "its upstreams are not connected to"
            extra = {"key": f"upstream_tls.{error.key}", "reason": str(error), "then": then}
            _log.error("a file for verifying upstreams cannot be used", extra=extra)
            return kept or _Trust(files, error)


def _asked_for(host: Hostname | HostPattern, options: HostOptions) -> str | None:
    """Return the Host that the application knows, None where it is its own."""
    return host.authority if isinstance(host, Hostname) and options.host_header == "keep" else None


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
        try:
            state.update(b"-" if file is None else hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            state.update(str(error).encode())
    if tls.ca is None and tls.pin is None:
        paths = ssl.get_default_verify_paths()
        for system in (Path(one) for one in (paths.cafile, paths.capath) if one):
            if system.exists():
                state.update(str(system.stat().st_mtime_ns).encode())
    return state.digest()
