"""What requests read of the configuration: frozen, swapped by one assignment."""

from dataclasses import dataclass, field

from proxyd.config.host import Timeouts
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.upstream.pool import UpstreamPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How one name is served, or every name under a wildcard host. `max_body`: bytes, 0: no limit."""

    host: Hostname | HostPattern
    upstream: UpstreamPool
    timeouts: Timeouts
    max_body: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All names that are served."""

    sites: HostTable[Site] = field(default_factory=HostTable)
    access_log: bool = True
