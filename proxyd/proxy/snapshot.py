"""What requests read of the configuration: frozen, swapped by one assignment."""

from dataclasses import dataclass, field

from proxyd.core.counters import Counters
from proxyd.core.header_change import HeaderChange
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.core.request_head import RequestHead
from proxyd.core.tls_policy import TlsPolicy
from proxyd.proxy.site_rules import SiteRules
from proxyd.proxy.times import Times
from proxyd.upstream.group import UpstreamGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How one name is served, or every name under a wildcard host. `max_body`: bytes, 0: no limit.

    `needs_own_connection`: the TLS connection says who the client is, so that no other one will do. `rules`: what is
    looked at before an upstream is asked. `keeps_host`: the upstream sees the Host that the client sent. `counts`: the
    answers of this host, among all `counters`. `http2`: it is offered. `policy`: what the handshake of whoever asks
    must have kept to.
    """

    host: Hostname | HostPattern
    upstream: UpstreamGroup
    times: Times
    max_body: int = 0
    needs_own_connection: bool = False
    keeps_host: bool = True
    rules: SiteRules | None = None
    response_fields: HeaderChange | None = None
    http2: bool = False
    policy: TlsPolicy = field(default_factory=TlsPolicy)
    counters: Counters = field(default_factory=Counters, compare=False)
    counts: list[int] = field(default_factory=lambda: Counters().elsewhere, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All names that are served, and the proxies that are believed.

    `default_host`: whose certificate clients get that send no name. `ready_path`: what load balancers ask for, of any
    host.
    """

    sites: HostTable[Site] = field(default_factory=HostTable)
    trusted: Networks = field(default_factory=Networks)
    default_host: Hostname | None = None
    ready_path: bytes | None = None
    access_log: bool = True

    def is_look(self, request: RequestHead) -> bool:
        """Return whether somebody looks whether we are ready."""
        path = self.ready_path
        return path is not None and request.method in (b"GET", b"HEAD") and request.path.partition(b"?")[0] == path
