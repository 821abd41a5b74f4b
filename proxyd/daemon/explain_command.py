"""`proxyd explain`: the story of a host, from a running daemon or from what one left in the cache."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from proxyd.config.model import Config
from proxyd.core.alarm import Alarm
from proxyd.core.clock_watch import Doubt
from proxyd.core.explanation import SET_THE_CLOCK, START_THE_DAEMON, Section, explain
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.on_demand_story import explain_pattern, explain_unserved, pattern_status, unserved_status
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.refusal import Refusal
from proxyd.core.status import Facts, HostStatus, host_statuses, rfc3339
from proxyd.daemon.plans import authorities_of

Document = Mapping[str, Any]
_MOST_EVENTS = 200


def names_of(host: Hostname, facts: Sequence[Facts]) -> list[Hostname]:
    """Return the names whose events belong to the story of `host`."""
    return list(dict.fromkeys([host, *(name for one in facts for name in one.plan.lineage.names)]))


def merged(histories: Sequence[Sequence[JournalEvent]]) -> list[JournalEvent]:
    """Return the events of several names as one story."""
    return sorted((one for history in histories for one in history), key=lambda one: one.at)[-_MOST_EVENTS:]


def story(
    host: Hostname,
    facts: Sequence[Facts],
    events: Sequence[JournalEvent],
    now: datetime,
    *,
    config: Callable[[], Config],
    runs: bool,
    doubt: Doubt | None,
    cache: Alarm | None = None,
) -> Document:
    """Return what `proxyd explain --json` prints; the sections are for people."""
    row, profiles = host_statuses(facts, now)[host], _profiles(config(), facts)
    sections = explain(host, facts, events, now, profiles=profiles, runs=runs, doubt=doubt, cache=cache)
    return _document(row, sections, events, runs=runs, doubt=doubt, cache=cache)


def on_demand_story(
    host: Hostname,
    view: OnDemandView,
    history: Callable[[Hostname], Sequence[JournalEvent]],
    now: datetime,
    *,
    refusal: Refusal | None,
    runs: bool,
    doubt: Doubt | None,
    cache: Alarm | None = None,
) -> Document:
    """Return the same of a wildcard host, or of a name under one that has neither certificate nor order."""
    urgent = [*([] if runs else [START_THE_DAEMON]), *([SET_THE_CLOCK] if doubt else [])]
    urgent += [f"{cache.reason}. {cache.to_do}"] if cache else []
    pattern = Hostname(view.pattern.text)
    if host == pattern:
        events = merged([history(host)])
        sections = explain_pattern(view, events, now, urgent=urgent)
        return _document(pattern_status(host, view), sections, events, runs=runs, doubt=doubt, cache=cache)
    events = merged([history(host), history(pattern)])
    sections = explain_unserved(host, view, refusal, events, now, urgent=urgent)
    return _document(unserved_status(host, view, refusal), sections, events, runs=runs, doubt=doubt, cache=cache)


def _document(
    row: HostStatus,
    sections: Sequence[Section],
    events: Sequence[JournalEvent],
    *,
    runs: bool,
    doubt: Doubt | None,
    cache: Alarm | None,
) -> Document:
    return {
        "host": row.host.text,
        "from": "daemon" if runs else "cache",
        "status": row.to_document(),
        "clock": doubt.reason if doubt else None,
        "cache": cache.reason if cache else None,
        "sections": [{"title": one.title, "lines": list(one.lines)} for one in sections],
        "events": [
            {
                "at": rfc3339(one.at),
                "host": one.host.text if one.host else None,
                "kind": one.kind,
                "issuer": one.issuer,
                "fields": dict(one.fields),
            }
            for one in events
        ],
    }


def _profiles(config: Config, facts: Sequence[Facts]) -> Mapping[str, str | None]:
    host = facts[0].plan.lineage.host
    return {one.server: one.profile for one in authorities_of(config, host)} if host in config.table else {}
