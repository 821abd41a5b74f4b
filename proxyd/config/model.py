"""The whole file as a value."""

import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from proxyd.config.acme import AcmeOptions, Challenge, OnDemand
from proxyd.config.alert import AlertOptions
from proxyd.config.host import HostOptions
from proxyd.config.http2_limits import Http2Limits
from proxyd.config.option import Options, option, overlay, switch
from proxyd.config.origin import Origin
from proxyd.config.values import Count, DnsServers, Duration, File, Listen, Name, Networks, Patterns, Size
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname

_MOST_WORKERS = 64


def _check_ready_path(written: str) -> str:
    if not re.fullmatch(r"/[!->@-~]+", written) or "#" in written:
        raise ValueError("must be a path of its own that begins with /, without a query, like /ready")
    if written.startswith("/.well-known/acme-challenge/"):
        raise ValueError("is where CAs ask for the answers to their challenges: choose another path")
    return written


class ListenOptions(Options):
    """Where connections come in."""

    https: Listen = option(":443", 'one or a list of HOST:PORT; ":443" is both families')
    http: Listen = option(":80", "ACME HTTP-01 first, always; then 308 to https. [] turns it off")
    http2: bool = option(True, "offer HTTP/2")
    proxy_protocol: Networks = option((), "CIDRs whose connections start with a PROXY header")

    @staticmethod
    def needed_by(challenge: str) -> Literal["https", "http"]:
        """Return which listener answers a challenge."""
        return "http" if challenge == "http-01" else "https"

    def usable(self, challenges: tuple[Challenge, ...]) -> tuple[Challenge, ...]:
        """Return the challenges for which something listens."""
        return tuple(one for one in challenges if getattr(self, self.needed_by(one)))


class Limits(Options):
    """Bounds on what clients may use."""

    max_header: Size = option("16KiB", "a request's head")
    max_header_count: Count = option(100, "fields in it")
    max_uri: Size = option("8KiB", "its target")
    max_connections: Count = option(10000, "open client connections")
    max_connections_per_ip: Annotated[int, Field(ge=0)] = option(0, "of one client address (IPv6: /64); 0: no limit")
    http2: Http2Limits = option(Http2Limits(), "what one HTTP/2 connection may use")


class AdminOptions(Options):
    """For operators and their machines."""

    listen: Listen = option(
        "127.0.0.1:9180", "/metrics, /status (a page), /status.json, /healthz, /readyz; [] turns it off"
    )
    socket: File | None = option(
        None, "control socket; null: in $RUNTIME_DIRECTORY or /run/proxyd when it exists, else in the cache"
    )


class AccessLog(Options):
    """One line a request."""

    file: File | None = option(None, "where to; null: stderr, with the rest of the log. HUP and USR1 open it anew")
    format: Literal["auto", "json", "combined", "console"] = option(
        "auto", "auto (JSON in a file, else as the rest of the log), json, combined, console"
    )
    query: bool = option(True, "write the query string")
    client: Literal["full", "masked", "none"] = option("full", "client address: full, masked (/24, IPv6 /48), none")


#: As for every mapping, all of whose keys may be commented out.
_null_is_default = BeforeValidator(lambda written: {} if written is None else written)


class LogOptions(Options):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = option("info", "debug, info, warning, error")
    format: Literal["auto", "json", "console"] = option(
        "auto", "auto (console on a terminal, journal fields under systemd, else JSON lines), json, console"
    )
    access: Annotated[AccessLog | None, switch(AccessLog), _null_is_default] = option(
        AccessLog(), "one line a request; false turns it off"
    )


def _read_workers(written: object) -> object:
    if written == "auto" or (type(written) is int and 1 <= written <= _MOST_WORKERS):
        return written
    raise ValueError(f"must be auto, or a number from 1 to {_MOST_WORKERS}")


_null_is_empty = BeforeValidator(
    lambda written: () if written is None else written, json_schema_input_type=list[AlertOptions] | None
)
#: What `load` has made of each entry.
_hosts = BeforeValidator(dict, json_schema_input_type=dict[str, HostOptions | str | int | list[str | int] | None])


class Config(Options):
    """What the user wrote, checked and completed. Below this no code knows YAML."""

    include: Patterns = option((), "more files, globs allowed, relative to this one; their hosts are added")
    listen: ListenOptions = option(ListenOptions(), "where connections come in")
    cache: File | None = option(
        None, "certificates and state; default: $STATE_DIRECTORY, /var/lib/proxyd, or ~/.local/share/proxyd"
    )
    acme: AcmeOptions = option(AcmeOptions(), "the CA")
    default_host: Name | None = option(None, "the certificate for clients without SNI; null: they are refused")
    trusted_proxies: Networks = option((), "CIDRs, or private: their X-Forwarded-For, -Proto, -Host are believed")
    ready_path: Annotated[str, AfterValidator(_check_ready_path)] | None = option(
        None, "e.g. /ready: answered on both ports for any Host, for load balancers"
    )
    resolvers: DnsServers = option((), "DNS servers for our own look-ups, IP or IP:PORT; empty: the system's")
    limits: Limits = option(Limits(), "bounds on what clients may use")
    workers: Annotated[Literal["auto"] | int, BeforeValidator(_read_workers)] = option(
        "auto", "processes that serve; auto: one a core, at most 8"
    )
    drain: Duration = option("30s", "how long a stop, or a removed host, waits for what is in flight")
    fast_path: bool = option(True, "false: requests are read by aiohttp's server")
    watch: bool = option(False, "reload when the file, or one that it includes, changes")
    admin: AdminOptions = option(AdminOptions(), "for operators and their machines")
    log: LogOptions = option(LogOptions(), "what is written to stderr")
    alerts: Annotated[tuple[AlertOptions, ...], _null_is_empty] = option(
        (),
        "{webhook: URL, secret: S}, {exec: [CMD, ARG…]}, {heartbeat: URL, interval: 1h}, "
        '{mail: {to: [A], from: A, server: "smtp://USER@HOST:587", password: S}}',
    )
    defaults: HostOptions = option(HostOptions(), "any per-host option, for all hosts")
    hosts: Annotated[Mapping[Hostname | HostPattern, HostOptions], _hosts] = option(
        doc='HOST: UPSTREAM, or HOST: {options}; "*.HOST" for the names under it'
    )

    _warnings: tuple[str, ...] = PrivateAttr(())
    _origin: Origin = PrivateAttr(Origin())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what is no mistake and hardly meant, each with its place in the file."""
        return self._warnings

    @property
    def origin(self) -> Origin:
        """Return which files it was read from."""
        return self._origin

    def with_origin(self, origin: Origin) -> "Config":
        """Return the same configuration with where it came from."""
        found = self.model_copy()
        found._origin = origin
        return found

    def with_warnings(self, warnings: Iterable[str]) -> "Config":
        """Return the same configuration with what is to be said of it."""
        found = self.model_copy()
        found._warnings = tuple(warnings)
        return found

    @cached_property
    def names(self) -> Mapping[Hostname, HostOptions]:
        """Return every name that is listed, aliases included, with its options."""
        served = {host: options for host, options in self.hosts.items() if isinstance(host, Hostname)}
        for options in self.hosts.values():
            served.update(dict.fromkeys(options.aliases, options))
        return served

    @cached_property
    def wildcards(self) -> Mapping[HostPattern, HostOptions]:
        """Return the wildcard hosts with their options."""
        return {host: options for host, options in self.hosts.items() if isinstance(host, HostPattern)}

    @property
    def served(self) -> Mapping[Hostname | HostPattern, HostOptions]:
        """Return names and wildcard hosts, with their options."""
        everything: dict[Hostname | HostPattern, HostOptions] = dict(self.names.items())
        everything.update(self.wildcards.items())
        return everything

    @cached_property
    def table(self) -> HostTable[HostOptions]:
        """Return the options of any name that is served."""
        return HostTable(self.names, self.wildcards)

    @cached_property
    def certificate_hosts(self) -> Mapping[Hostname, tuple[Hostname, ...]]:
        """Return each host that names a certificate that we obtain, with the names in it; none for wildcards."""
        found: dict[Hostname, tuple[Hostname, ...]] = {}
        for host, options in self.hosts.items():
            if options.tls.cert is not None:
                continue
            if isinstance(host, HostPattern):
                found.update({name: (name,) for name in options.aliases})
            elif options.certificate == "shared":
                found[host] = (host, *options.aliases)
            else:
                found.update({name: (name,) for name in (host, *options.aliases)})
        return found

    @cached_property
    def own_certificates(self) -> Mapping[Hostname, tuple[Path, Path | None]]:
        """Return the names with a certificate of the operator's own: its file, and that of its key if it has one."""
        return {
            name: (options.tls.cert, options.tls.key)
            for name, options in self.names.items()
            if options.tls.cert is not None
        }

    def on_demand_of(self, pattern: HostPattern) -> OnDemand | None:
        """Return how names under a wildcard host get certificates one by one."""
        return self.acme_of(pattern).on_demand

    def acme_of(self, host: Hostname | HostPattern) -> AcmeOptions:
        """Return how certificates of a served name are obtained: only what can be proved by what listens here.

        Each fallback inherits what is not the CA's own.
        """
        options = self.wildcards.get(host) if isinstance(host, HostPattern) else self.table.get(host)
        own = options.acme if options else None
        chosen = self.acme if own is None else overlay(self.acme, own)
        named = host if isinstance(host, HostPattern) or host in self.names else self.table.pattern(host) or host
        if options is not None and options.is_internal(named, chosen):
            return self._internal if own is None else chosen.made_internal()
        return self.common_acme if own is None else self._inherited(chosen)

    @cached_property
    def _internal(self) -> AcmeOptions:
        return self.acme.made_internal()

    @cached_property
    def common_acme(self) -> AcmeOptions:
        """Return what holds for all hosts without options of their own: one object, however many they are."""
        return self._inherited(self.acme)

    @property
    def cache_directory(self) -> Path:
        """Return where certificates live: the user's choice, systemd's, the system's, or the user's own."""
        if self.cache is not None:
            return self.cache
        if state := os.environ.get("STATE_DIRECTORY"):
            return Path(state.split(":")[0])
        system = Path("/var/lib/proxyd")
        if system.is_dir() or os.geteuid() == 0:
            return system
        return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "proxyd"

    def _inherited(self, chosen: AcmeOptions) -> AcmeOptions:
        challenges = self.listen.usable(chosen.challenges)
        common = AcmeOptions(email=chosen.email, key_type=chosen.key_type, challenges=challenges)
        others = [one for one in chosen.fallback if one.server != chosen.server]  # a host may name it as its first
        fallback = tuple(overlay(common, one) for one in others)
        return chosen.model_copy(update={"challenges": challenges, "fallback": fallback})
