"""What requests read of the configuration: frozen, swapped by one assignment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxyd.config.host import Timeouts
from proxyd.core.hostname import Hostname
from proxyd.upstream.pool import UpstreamPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How one name is served."""

    host: Hostname
    upstream: UpstreamPool
    timeouts: Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All names that are served."""

    sites: Mapping[Hostname, Site] = field(default_factory=dict)
    access_log: bool = True
