"""What requests read of the configuration: frozen, swapped by one assignment."""

from dataclasses import dataclass, field, replace

from proxyd.core.counters import Counters
from proxyd.core.header_change import HeaderChange
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.core.request_head import RequestHead
from proxyd.core.security_fields import SecurityFields
from proxyd.core.tls_policy import TlsPolicy
from proxyd.proxy.client_access import ClientAccess
from proxyd.proxy.exchange import Downstream
from proxyd.proxy.site_rules import SiteRules
from proxyd.proxy.times import Times
from proxyd.tls.revocation import is_revoked
from proxyd.upstream.group import UpstreamGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """How one name is served, or every name under a wildcard host. `max_body`: bytes, 0: no limit.

    `rules`: what is looked at before an upstream is asked. `keeps_host`: the upstream sees the Host that the client
    sent. `counts`: the answers of this host, among all `counters`. `policy`: what the handshake of whoever asks must
    have kept to. `client_access`: of a host that asks for certificates. `reserved`: takes from trailers
    what a client may not tell the upstream, beside what holds for all hosts. `security`: what is added to responses,
    our own too.
    """

    host: Hostname | HostPattern
    upstream: UpstreamGroup
    times: Times
    max_body: int = 0
    keeps_host: bool = True
    rules: SiteRules | None = None
    response_fields: HeaderChange | None = None
    security: SecurityFields | None = None
    client_access: ClientAccess | None = None
    reserved: HeaderChange | None = None
    policy: TlsPolicy = field(default_factory=TlsPolicy)
    counters: Counters = field(default_factory=Counters, compare=False)
    counts: list[int] = field(default_factory=lambda: Counters().elsewhere, compare=False)

    def admits(self, downstream: Downstream, host: Hostname, *, is_trusted: bool) -> bool:
        """Return whether `host`, one of its names, may be asked for on a connection.

        A proxy that is trusted may ask for hosts that its connection is not for; but not where the connection says who
        the client is.
        """
        ours, theirs = self.policy, downstream.policy
        is_same = ours is theirs or ours == theirs
        if not is_trusted:
            return is_same and downstream.covers(host)
        if ours.client_auth == "none" and (theirs is None or theirs.client_auth == "none"):
            return True
        return is_same and downstream.covers(host)

    def keeps(self, downstream: Downstream) -> bool:
        """Return whether what a client began on a connection may go on, although the policy may have changed since."""
        ours, theirs = self.policy, downstream.policy
        if ours.client_auth == "none":
            return True
        if theirs is None or (theirs.client_auth, theirs.client_ca) != (ours.client_auth, ours.client_ca):
            return False
        if self.client_access is not None and not self.client_access.caller(downstream.client_chain).is_admitted:
            return False
        # Lists are renewed every day or hour: that alone ends no tunnel of others.
        is_new = theirs.client_crl != ours.client_crl and ours.client_crl and downstream.client_chain
        return not (is_new and is_revoked(downstream.client_chain[0], ours.client_crl))

    def telling(self, lines: bytes) -> "Site":
        """Return the same with more header lines in the upstream's response."""
        return replace(self, response_fields=(self.response_fields or HeaderChange({})).adding(lines))

    def secured(self, lines: bytes, downstream: Downstream) -> bytes:
        """Return the header lines of a response with what makes browsers careful."""
        return self.security.applied(lines, is_secure=downstream.is_secure) if self.security is not None else lines


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
