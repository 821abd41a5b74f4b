"""What a host's options say about a request before an upstream sees it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxyd.core.header_change import HeaderChange
from proxyd.core.networks import NOBODY, Networks, address_of
from proxyd.core.redirection import Redirection
from proxyd.core.request_head import RequestHead
from proxyd.core.route_table import RouteTable
from proxyd.proxy.answer import HTML, Answer

if TYPE_CHECKING:
    from proxyd.proxy.snapshot import Site

_DENIED = Answer(403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What serves a path: a site, or another place. `strips`: the upstream does not see the prefix."""

    site: "Site | None" = None
    redirection: Redirection | None = None
    strips: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    """Made for hosts that have such options: others have none and ask nothing."""

    allow: Networks = NOBODY
    deny: Networks = NOBODY
    maintenance: Answer | None = None
    redirection: Redirection | None = None
    request_fields: HeaderChange | None = None
    routes: RouteTable[Route] | None = None

    def apply(
        self, site: "Site", request: RequestHead, *, client: str, authority: bytes
    ) -> "Answer | tuple[Site, RequestHead]":
        """Return what `client` is answered, or which site serves the request, as its upstream is to see it.

        `authority`: what the client knows this host as.
        """
        if not self._admits(client):
            return _DENIED
        if self.maintenance is not None:
            return self.maintenance
        redirection, rest = self.redirection, request.path
        found = self.routes.find(rest) if self.routes is not None else None
        if found is not None:
            route, left = found
            redirection, rest = route.redirection, left
            site = route.site or site
            if route.strips:
                request = replace(request, path=left if left.startswith(b"/") else b"/" + left)
        if redirection is not None:
            return _moved(redirection.location(authority, rest), redirection.status)
        if self.request_fields is not None:
            request = replace(request, kept=self.request_fields.applied(request.kept))
        return site, request

    def _admits(self, client: str) -> bool:
        if not self.allow and not self.deny:
            return True
        address = address_of(client)
        return address not in self.deny and (not self.allow or address in self.allow)


def maintenance(seconds: int, page: bytes | None) -> Answer:
    """Return the answer of a host that is under maintenance."""
    lines = b"\r\nRetry-After: %d" % seconds
    return Answer(503, lines=lines) if page is None else Answer(503, page, HTML, lines + b"\r\nCache-Control: no-store")


def _moved(location: bytes, status: int) -> Answer:
    return Answer(status, location + b"\n", lines=b"\r\nLocation: " + location)
