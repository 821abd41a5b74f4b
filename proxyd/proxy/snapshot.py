"""What requests read of the configuration: frozen, swapped by one assignment."""

from dataclasses import dataclass, field

from proxyd.config.host import Timeouts
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.proxy.times import Times
from proxyd.upstream.group import UpstreamGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How one name is served, or every name under a wildcard host. `max_body`: bytes, 0: no limit.

    `needs_own_connection`: the TLS connection says who the client is, so that no other one will do.
    """

    host: Hostname | HostPattern
    upstream: UpstreamGroup
    timeouts: Timeouts
    times: Times = field(default_factory=Times)
    max_body: int = 0
    needs_own_connection: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All names that are served, and the proxies that are believed.

    `default_host`: whose certificate clients get that send no name.
    """

    sites: HostTable[Site] = field(default_factory=HostTable)
    trusted: Networks = field(default_factory=Networks)
    default_host: Hostname | None = None
    access_log: bool = True
