"""What a host's options say about a request before an upstream sees it."""

import logging
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from proxyd.core.header_change import HeaderChange
from proxyd.core.networks import NOBODY, Networks, address_of
from proxyd.core.rate_limit import Rate, RateTable
from proxyd.core.redirection import Redirection
from proxyd.core.request_head import RequestHead
from proxyd.core.route_table import RouteTable
from proxyd.proxy.answer import HTML, Answer
from proxyd.proxy.error_response import retry_after
from proxyd.proxy.gate import Guard

if TYPE_CHECKING:
    from proxyd.proxy.snapshot import Site

_log = logging.getLogger("proxyd.proxy")
_DENIED = Answer(403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What serves a path: a site, or another place. `strips`: the upstream does not see the prefix."""

    site: "Site | None" = None
    redirection: Redirection | None = None
    strips: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimit:
    """How often each client may ask; `host` and its aliases count together."""

    host: str
    rate: Rate
    table: RateTable

    def take(self, client: str, now: float) -> float:
        """Count a request; return 0, or in how many seconds the client may ask again."""
        return self.table.take(self.table.place(self.host, client), self.rate, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    """Made for hosts that have such options: others have none and ask nothing.

    A request meets `refusal`, then `guards`, then `route`.
    """

    allow: Networks = NOBODY
    deny: Networks = NOBODY
    limit: ClientLimit | None = None
    maintenance: Answer | None = None
    guards: tuple[Guard, ...] = ()
    redirection: Redirection | None = None
    request_fields: HeaderChange | None = None
    routes: RouteTable[Route] | None = None

    def refusal(self, site: "Site", client: str, now: float) -> Answer | None:
        """Return what `client` is answered at `now` (monotonic), whatever it asks for; None: it may go on."""
        if not self._admits(client):
            return _DENIED
        if self.limit is not None and (wait := self.limit.take(client, now)):
            site.counters.hit("rate_limit")
            extra = {"host": site.host, "client": client, "limit": "rate_limit"}
            _log.info("a client asks more often than it may", extra=extra)
            return Answer(429, lines=retry_after(ceil(wait)))
        return self.maintenance

    def route(self, site: "Site", request: RequestHead, authority: bytes) -> "Answer | tuple[Site, RequestHead]":
        """Return where a client is sent, or which site serves the request, as its upstream is to see it.

        `authority`: what the client knows this host as.
        """
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
