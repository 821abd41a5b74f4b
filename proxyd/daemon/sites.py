"""From the options of hosts to what requests read of them: everything that can be made beforehand is."""

import logging
from dataclasses import replace
from pathlib import Path

from proxyd.config.host import HostOptions
from proxyd.config.model import Config
from proxyd.config.routing import Redirect
from proxyd.core.counters import Counters
from proxyd.core.header_change import HeaderChange
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.networks import Networks
from proxyd.core.redirection import Redirection
from proxyd.core.route_table import RouteTable
from proxyd.proxy.answer import Answer
from proxyd.proxy.site_rules import Route, SiteRules, maintenance
from proxyd.proxy.snapshot import Site
from proxyd.proxy.times import Times
from proxyd.upstream.group import UpstreamGroup
from proxyd.upstream.pools import Upstreams

_log = logging.getLogger("proxyd.daemon")
#: Of a host whose every request is redirected.
_NOWHERE = UpstreamGroup(())
_LONGEST_PAGE = 1 << 20


class Sites:
    """Makes the sites of one configuration after the other. A page that can be read no more stays what it was."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._pages: dict[Path, bytes] = {}

    def table(self, config: Config, upstreams: Upstreams) -> HostTable[Site]:
        """Return how each name is served. Blocks: not for the event loop."""
        pages: dict[Path, bytes] = {}

        def site(host: Hostname | HostPattern, options: HostOptions) -> Site:
            rules = self._rules(options, pages)
            made = Site(
                host=host,
                upstream=upstreams.group(options) if options.upstream else _NOWHERE,
                times=Times.of(options.timeouts),
                max_body=options.max_body,
                needs_own_connection=options.tls.client_ca is not None,
                keeps_host=options.host_header == "keep",
                http2=config.listen.http2 and options.http2,
                response_fields=_change(options.headers.response.set, options.headers.response.remove),
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
        self._pages = pages
        return table

    def _rules(self, options: HostOptions, pages: dict[Path, bytes]) -> SiteRules | None:
        request = options.headers.request
        says = (options.allow, options.deny, options.maintenance, options.redirect, request.set, request.remove)
        if not any(says):
            return None
        return SiteRules(
            allow=Networks(options.allow),
            deny=Networks(options.deny),
            maintenance=self._maintenance(options, pages),
            redirection=_redirection(options.redirect),
            request_fields=_change(request.set, request.remove, aliases=True),
        )

    def _maintenance(self, options: HostOptions, pages: dict[Path, bytes]) -> Answer | None:
        chosen = options.maintenance
        if chosen is None:
            return None
        page = self._page(chosen.page, pages) if chosen.page is not None else None
        return maintenance(int(chosen.retry_after.total_seconds()), page)

    def _page(self, file: Path, pages: dict[Path, bytes]) -> bytes | None:
        if file in pages:
            return pages[file]
        try:
            with file.open("rb") as opened:
                page = opened.read(_LONGEST_PAGE + 1)
            reason = "is longer than 1 MiB" if len(page) > _LONGEST_PAGE else None
        except OSError as error:
            page, reason = b"", error.strerror or str(error)
        if reason is not None:
            before = self._pages.get(file)
            then = "the page as it was is shown" if before else "a text is shown instead"
            _log.error("a maintenance page cannot be used", extra={"file": file, "reason": reason, "then": then})
            if before is None:
                return None
            page = before
        pages[file] = page
        return page


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


def _redirection(options: Redirect | None) -> Redirection | None:
    return None if options is None else Redirection(options.to, options.status, options.keep_path)


def _change(fields: dict[str, str], removed: tuple[str, ...], *, aliases: bool = False) -> HeaderChange | None:
    return HeaderChange(fields, removed, aliases=aliases) if fields or removed else None
