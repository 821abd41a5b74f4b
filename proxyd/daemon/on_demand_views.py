"""What each wildcard host of a configuration allows, from a running daemon or from what one left in the cache."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from proxyd.config.model import Config
from proxyd.core.daily_count import DailyCount
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.core.on_demand_story import unserved_status
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.refusal import Refusal
from proxyd.core.status import HostStatus
from proxyd.daemon.plans import authorities_of


def on_demand_views(
    config: Config, names: Iterable[Hostname], created: DailyCount, now: datetime
) -> dict[HostPattern, OnDemandView]:
    """Return a view for each wildcard host; `names` are those that have a certificate or wait for one."""
    under: defaultdict[HostPattern, list[Hostname]] = defaultdict(list)
    for name in sorted(names):
        if pattern := config.table.pattern(name):
            under[pattern].append(name)
    found = {}
    for pattern in sorted(config.wildcards):
        chosen = authorities_of(config, pattern)
        if (rule := chosen[0].on_demand) is None:
            continue
        found[pattern] = OnDemandView(
            pattern=pattern,
            issuers=tuple(one.server for one in chosen),
            challenges=tuple(chosen[0].challenges),
            ask=str(rule.ask) if rule.ask else None,
            max_new_per_day=rule.max_new_per_day,
            new_today=created.total(now),
            free_at=created.free_at(rule.max_new_per_day, now),
            public=not chosen[0].is_private,
            names=tuple(under[pattern]),
        )
    return found


def view_of(host: Hostname, views: Mapping[HostPattern, OnDemandView]) -> OnDemandView | None:
    """Return the wildcard host that has this name, else the one that stands for it."""
    own = views.get(HostPattern(host.text))
    return own or next((views[one] for one in HostPattern.over(host) if one in views), None)


def asked_rows(
    rows: Mapping[Hostname, HostStatus],
    views: Mapping[HostPattern, OnDemandView],
    asked: Sequence[Hostname],
    refusal: Callable[[Hostname], Refusal | None],
) -> tuple[dict[Hostname, HostStatus], dict[HostPattern, OnDemandView]]:
    """Return the rows and the wildcard hosts that were asked for; all, when none was named.

    A name under a wildcard host has a row even when it got nothing.
    """
    if not asked:
        return dict(rows), dict(views)
    chosen = {pattern: view for pattern, view in views.items() if Hostname(pattern.text) in asked}
    found = {host: row for host, row in rows.items() if host in asked}
    for host in asked:
        view = view_of(host, views)
        if host not in found and view is not None and view.pattern.text != host.text:
            found[host] = unserved_status(host, view, refusal(host))
    return found, chosen
