"""From the options of hosts to what requests read of them: everything that can be made beforehand is."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxyd.config.host import HostOptions
from proxyd.config.hsts import Hsts
from proxyd.config.model import Config
from proxyd.config.regular_file import open_regular
from proxyd.config.routing import Redirect
from proxyd.config.user_file import read_users
from proxyd.config.values import UpstreamAddress
from proxyd.core.counters import Counters
from proxyd.core.header_change import HeaderChange
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.core.rate_limit import Rate, RateTable
from proxyd.core.redirection import Redirection
from proxyd.core.route_table import RouteTable
from proxyd.core.security_fields import SecurityFields
from proxyd.core.strict_transport import ramp_lines, strict_transport_line
from proxyd.core.tls_policy import TlsPolicy
from proxyd.core.user_list import UserList, UserListError
from proxyd.proxy.answer import Answer
from proxyd.proxy.basic_auth import Attempts, BasicAuth
from proxyd.proxy.client_access import ClientAccess
from proxyd.proxy.forward_auth import ForwardAuth
from proxyd.proxy.gate import Guard
from proxyd.proxy.site_rules import ClientLimit, Route, SiteRules, maintenance
from proxyd.proxy.snapshot import Site
from proxyd.proxy.times import Times
from proxyd.upstream.group import UpstreamGroup
from proxyd.upstream.pools import Upstreams

_log = logging.getLogger("proxyd.daemon")
#: Of a host whose every request is redirected.
_NOWHERE = UpstreamGroup(())
_LONGEST_PAGE = 1 << 20


@dataclass(slots=True)
class _Files:
    """What was read for one configuration; hosts often share a file."""

    pages: dict[Path, bytes] = field(default_factory=dict)
    users: dict[Path, UserList | None] = field(default_factory=dict)


class Sites:
    """Makes the sites of one configuration after the other.

    A page or a list of users that can be read no more stays what it was.

    `rates`: where requests of clients are counted.
    """

    def __init__(self, counters: Counters, rates: RateTable, renewals: Callable[[Hostname], int]) -> None:
        self._counters = counters
        self._rates = rates
        self._renewals = renewals
        self.attempts = Attempts(rates, counters)
        self._files = _Files()

    def table(
        self, config: Config, upstreams: Upstreams, policies: Mapping[Hostname | HostPattern, TlsPolicy]
    ) -> HostTable[Site]:
        """Return how each name is served. Blocks: not for the event loop."""
        files = _Files()
        entries: dict[Hostname | HostPattern, Hostname | HostPattern] = {
            alias: host for host, options in config.hosts.items() for alias in options.aliases
        }

        def site(host: Hostname | HostPattern, options: HostOptions) -> Site:
            rules = self._rules(entries.get(host, host), options, files, upstreams)
            made = Site(
                host=host,
                upstream=upstreams.group(options) if options.upstream else _NOWHERE,
                times=Times.of(options.timeouts),
                max_body=options.max_body,
                policy=policies[host],
                keeps_host=options.host_header == "keep",
                response_fields=_change(options.headers.response.set, options.headers.response.remove),
                security=self._security(host, options),
                client_access=_client_access(options),
                reserved=_change({}, tuple(options.tls.client_headers), aliases=True),
                counters=self._counters,
                counts=self._counters.host(host.text),
            )
            routes = _routes(made, options, upstreams)
            if routes is not None:
                rules = replace(rules or SiteRules(), routes=routes)
            return made if rules is None else replace(made, rules=rules)

        table = HostTable(
            {host: site(host, options) for host, options in config.names.items()},
            {host: site(host, options) for host, options in config.wildcards.items()},
        )
        self._files = files
        return table

    def _rules(
        self, entry: Hostname | HostPattern, options: HostOptions, files: _Files, upstreams: Upstreams
    ) -> SiteRules | None:
        """Return what the options say before an upstream is asked; `entry`: under which name they are written."""
        request = options.headers.request
        removed = (*request.remove, *options.tls.client_headers)  # what it tells of a client nobody else may
        says = (options.allow, options.deny, options.maintenance, options.redirect, request.set, removed)
        if not any((*says, options.rate_limit, options.basic_auth, options.forward_auth)):
            return None
        return SiteRules(
            allow=Networks(options.allow),
            deny=Networks(options.deny),
            limit=self._limit(entry, options),
            maintenance=self._maintenance(options, files),
            guards=tuple(self._guards(options, files, upstreams)),
            redirection=_redirection(options.redirect),
            request_fields=_change(request.set, removed, aliases=True),
        )

    def _limit(self, entry: Hostname | HostPattern, options: HostOptions) -> ClientLimit | None:
        limit = options.rate_limit
        if limit is None:
            return None
        rate = Rate.of(limit.requests, limit.per.total_seconds(), limit.burst)
        return ClientLimit(host=entry.text, rate=rate, table=self._rates)

    def _security(self, host: Hostname | HostPattern, options: HostOptions) -> SecurityFields | None:
        strict = None
        if options.hsts is not None and isinstance(host, Hostname) and host.is_ip_address:
            pass  # RFC 6797 §8.1.1
        elif options.hsts is not None:
            strict = _strict(host, options.hsts, self._renewals)
        if strict is None and not options.secure_headers:
            return None
        return SecurityFields(strict=strict, protects=options.secure_headers)

    def _maintenance(self, options: HostOptions, files: _Files) -> Answer | None:
        chosen = options.maintenance
        if chosen is None:
            return None
        page = self._page(chosen.page, files.pages) if chosen.page is not None else None
        return maintenance(int(chosen.retry_after.total_seconds()), page)

    def _page(self, file: Path, pages: dict[Path, bytes]) -> bytes | None:
        if file in pages:
            return pages[file]
        try:
            with open_regular(file) as opened:
                page = opened.read(_LONGEST_PAGE + 1)
            reason = "is longer than 1 MiB" if len(page) > _LONGEST_PAGE else None
        except OSError as error:
            page, reason = b"", error.strerror or str(error)
        if reason is not None:
            before = self._files.pages.get(file)
            then = "the page as it was is shown" if before else "a text is shown instead"
            _log.error("a maintenance page cannot be used", extra={"file": file, "reason": reason, "then": then})
            if before is None:
                return None
            page = before
        pages[file] = page
        return page

    def _guards(self, options: HostOptions, files: _Files, upstreams: Upstreams) -> Iterator[Guard]:
        if (basic := options.basic_auth) is not None:
            yield BasicAuth(basic.realm, self._users(basic.users, files.users), self.attempts)
        if (asked := options.forward_auth) is not None and (server := options.auth_server) is not None:
            yield ForwardAuth(
                upstreams.group(server),
                target=asked.url.target,
                host=asked.url.address.host_field,
                copied=asked.copy_headers,
                reserved=options.tls.client_headers,
                unasked=_leading_to(asked.url.address, options),
            )

    def _users(self, file: Path, lists: dict[Path, UserList | None]) -> UserList | None:
        """Return who is in a file, or was when it could be read; None: nobody knows, and nobody comes in."""
        if file not in lists:
            try:
                lists[file] = read_users(file)
            except UserListError as error:
                before = lists[file] = self._files.users.get(file)
                then = "who was in it before comes in" if before is not None else "its hosts answer 503"
                extra = {"file": file, "reason": str(error), "then": then}
                _log.error("a file of users cannot be used", extra=extra)
        return lists[file]


def _leading_to(server: UpstreamAddress, options: HostOptions) -> RouteTable[bool] | None:
    """Return which paths of a host have that server alone as their upstream; None: no path has."""
    there = {prefix: route.upstream == (server,) for prefix, route in options.paths.items()}
    return RouteTable(there) if any(there.values()) else None


def _routes(site: Site, options: HostOptions, upstreams: Upstreams) -> RouteTable[Route] | None:
    if not options.paths:
        return None
    return RouteTable(
        {
            prefix: Route(
                site=replace(site, upstream=upstreams.group(options, route.upstream)) if route.upstream else None,
                redirection=_redirection(route.redirect),
                strips=route.strip,
            )
            for prefix, route in options.paths.items()
        }
    )


def _strict(host: Hostname | HostPattern, options: Hsts, renewals: Callable[[Hostname], int]) -> Callable[[], bytes]:
    if options.max_age == "ramp":
        assert isinstance(host, Hostname)  # as the configuration is checked
        lines, name = ramp_lines(include_subdomains=options.include_subdomains), host
        return lambda: lines[min(renewals(name), len(lines) - 1)]
    line = strict_transport_line(
        int(options.max_age.total_seconds()), include_subdomains=options.include_subdomains, preload=options.preload
    )
    return lambda: line


def _client_access(options: HostOptions) -> ClientAccess | None:
    tls = options.tls
    if tls.client_ca is None or tls.client_auth == "none":
        return None
    return ClientAccess(headers=tuple(tls.client_headers.items()), rules=tuple(one.rule() for one in tls.client_allow))


def _redirection(options: Redirect | None) -> Redirection | None:
    return None if options is None else Redirection(options.to, options.status, options.keep_path)


def _change(fields: dict[str, str], removed: tuple[str, ...], *, aliases: bool = False) -> HeaderChange | None:
    return HeaderChange(fields, removed, aliases=aliases) if fields or removed else None
