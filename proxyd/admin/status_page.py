"""The status page: every host, trouble first; what the CAs allow, how upstreams are, what happened. A pure function."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import quote

from proxyd.admin.host_filter import NEEDS_YOU, HostFilter
from proxyd.admin.life_bar import life_bar
from proxyd.admin.page_frame import amount, away, moment, page, part, prose
from proxyd.admin.traffic_view import traffic_view, upstream_table
from proxyd.core.counters import Document
from proxyd.core.event_words import words
from proxyd.core.host_pattern import HostPattern
from proxyd.core.journal_event import JournalEvent
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.status import HostStatus

_MOST_WILDCARDS = 20
_MOST_WAITING = 5
#: How a state looks; its name is always beside that.
_TONES = {"ready": "good", "manual": "good", "ordering": "busy", "waiting": "warn", "dormant": "soft"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What is shown. `budget` as in status.json; `troubles` of the whole machine, in words.

    `counted`: of all processes; `upstreams`: those of the configuration, by address; `events`: the latest of all
    hosts, newest first.
    """

    version: str
    now: datetime
    rows: Sequence[HostStatus]
    wildcards: Mapping[HostPattern, OnDemandView]
    budget: Mapping[str, Mapping[str, Any]]
    troubles: Sequence[str]
    counted: Document
    upstreams: Sequence[str]
    events: Sequence[JournalEvent]


def status_page(seen: Overview, asked: HostFilter) -> str:
    """Return the page as HTML."""
    needing = sum(one.needs_a_person for one in seen.rows)
    chosen = asked.chosen(seen.rows)
    hosts = [
        '<section aria-labelledby="hosts-title"><h2 id="hosts-title">Hosts</h2>',
        _search(asked),
        f'<div id="hosts" data-live>{_hosts(chosen, asked, seen.now)}</div></section>',
    ]
    if seen.wildcards and not asked.state and asked.page == 1:
        hosts.append(part("wildcards", "On demand", _wildcards(seen, asked)))
    hosts.append(part("events", "Lately", _events(seen.events, seen.now)))
    beside = [
        part("budget", "Certificate authorities", _budget(seen)),
        part("upstreams", "Upstreams", upstream_table(seen.counted, seen.upstreams)),
        part("traffic", "Traffic since the start", traffic_view(seen.counted)),
    ]
    return page(
        f"{needing} need you · proxyd" if needing else "proxyd",
        head=_head(seen, needing, asked),
        main=f'<div class="columns"><div>{"".join(hosts)}</div><div>{"".join(beside)}</div></div>',
        version=seen.version,
        now=seen.now,
        is_well=not needing and not seen.troubles,
    )


def host_path(name: str) -> str:
    """Return the address of a host's own page."""
    return f"/status/{quote(name, safe='')}"


def state_word(row: HostStatus) -> str:
    """Return the state of a host as HTML: a sign, its colour, and the word."""
    tone = "bad" if row.needs_a_person else _TONES.get(row.state, "bad")
    return f'<span class="state {tone}">{escape(row.state)}</span>'


def trouble_of(row: HostStatus, now: datetime) -> str:
    """Return what is wrong, and when that is tried again, as HTML; empty when nothing is."""
    told = [*row.alarms, *([row.last_error] if row.last_error else [])]
    if row.failures > 1:
        told.append(f"the last {row.failures:,} orders gave none")
    said = [f'<p class="trouble small">{prose("; ".join(told))}</p>'] if told else []
    if row.next_try:
        said.append(f'<p class="trouble small soft">next try {away(row.next_try, now)}</p>')
    return "".join(said)


def _head(seen: Overview, needing: int, asked: HostFilter) -> str:
    count = len(seen.rows)
    if needing:
        title = f"{needing:,} of {amount(count, 'host', 'hosts')} {'needs' if needing == 1 else 'need'} you"
    elif not count:
        title = "No hosts yet" if not seen.wildcards else "Nobody has asked for a name yet"
    else:
        title = "The one host is well" if count == 1 else f"All {count:,} hosts are well"
    alarms = "".join(f"<li>{prose(one[:1].upper() + one[1:])}.</li>" for one in seen.troubles)
    listed = f'<ul class="alarms">{alarms}</ul>' if alarms else ""
    return f"{listed}<h1>{title}</h1>{_counts(seen.rows, needing, asked)}"


def _counts(rows: Sequence[HostStatus], needing: int, asked: HostFilter) -> str:
    states = Counter(one.state for one in rows)
    named = [("", "all", len(rows)), (NEEDS_YOU, NEEDS_YOU, needing)]
    named += [(state, state, count) for state, count in sorted(states.items(), key=lambda one: -one[1])]
    links = []
    for state, label, count in named:
        if count or state == asked.state:
            current = ' aria-current="true"' if state == asked.state else ""
            links.append(f'<a href="{escape(asked.address(state=state))}"{current}>{label}&nbsp;{count:,}</a>')
    return f'<nav class="counts small" aria-label="Hosts by state">{"".join(links)}</nav>'


def _search(asked: HostFilter) -> str:
    kept = f'<input type="hidden" name="state" value="{escape(asked.state)}">' if asked.state else ""
    return (
        '<form action="/status" role="search">'
        f'<input type="search" name="q" value="{escape(asked.search)}" maxlength="253" autocomplete="off" '
        f'placeholder="part of a name" aria-label="Find hosts by a part of their name">{kept}'
        "<button>Find</button></form>"
    )


def _hosts(chosen: list[HostStatus], asked: HostFilter, now: datetime) -> str:
    if not chosen:
        return '<p class="soft">No host is like that. <a href="/status">Show all</a></p>'
    shown = "".join(_host(one, now) for one in asked.on_page(chosen))
    return f'<ul class="hosts">{shown}</ul>{_pages(len(chosen), asked)}'


def _host(row: HostStatus, now: datetime) -> str:
    name = row.host.text
    return (
        f'<li><div><p class="name"><a href="{escape(host_path(name))}">{escape(name)}</a></p>'
        f'<p class="small soft">{escape(row.issuer or "no CA")}</p></div>'
        f'<p class="small">{state_word(row)}</p><div class="term">{life_bar(row, now, away)}</div>'
        f"{trouble_of(row, now)}</li>"
    )


def _pages(count: int, asked: HostFilter) -> str:
    number, last = asked.pages(count)
    if last == 1:
        return ""
    links = [f'<a href="{escape(asked.address(page=number - 1))}" rel="prev">Back</a>'] if number > 1 else []
    links += [f"<span>Page {number:,} of {last:,}</span>"]
    links += [f'<a href="{escape(asked.address(page=number + 1))}" rel="next">Next</a>'] if number < last else []
    return f'<nav class="pages small" aria-label="Pages">{"".join(links)}</nav>'


def _wildcards(seen: Overview, asked: HostFilter) -> str:
    views = [one for one in seen.wildcards.values() if asked.search in one.pattern.text]
    shown = []
    for one in views[:_MOST_WILDCARDS]:
        free = f" The next new name may come {moment(one.free_at, seen.now)}." if one.free_at else ""
        name, words_of = one.pattern.text, one.words.removeprefix("on demand: ")
        shown.append(
            f'<li><p class="name"><a href="{escape(host_path(name))}">{escape(name)}</a></p>'
            f'<p class="small soft">{escape(words_of[:1].upper() + words_of[1:])}.{free}</p></li>'
        )
    more = len(views) - _MOST_WILDCARDS
    shown += [f'<li class="small soft">and {more:,} more: search for them</li>'] if more > 0 else []
    return f'<ul class="list">{"".join(shown)}</ul>' if shown else '<p class="soft">None is like that.</p>'


def _budget(seen: Overview) -> str:
    shown = []
    for issuer, room in seen.budget.items():
        left, limit = room["orders_left"], room["orders_limit"]
        said = "its limits are not known" if left is None else f"{left:,} of {limit:,} orders left"
        waiting = list(room["waiting"].items())
        hosts = ", ".join(
            f'<a href="{escape(host_path(host))}">{escape(host)}</a>' + (f" {_away_of(at, seen.now)}" if at else "")
            for host, at in waiting[:_MOST_WAITING]
        )
        more = f" and {len(waiting) - _MOST_WAITING:,} more" if len(waiting) > _MOST_WAITING else ""
        waits = f'<p class="small">waiting for a limit: {hosts}{more}</p>' if waiting else ""
        shown.append(f'<li><p>{escape(issuer)}</p><p class="small soft number">{said}</p>{waits}</li>')
    return f'<ul class="list">{"".join(shown)}</ul>' if shown else '<p class="soft small">None is asked.</p>'


def _away_of(text: str, now: datetime) -> str:
    return away(datetime.fromisoformat(text), now)


def _events(events: Sequence[JournalEvent], now: datetime) -> str:
    if not events:
        return '<p class="soft small">Nothing is recorded.</p>'
    shown = []
    for one in events:
        name = one.host.text if one.host else ""
        who = f'<a href="{escape(host_path(name))}">{escape(name)}</a>: ' if name else ""
        shown.append(f'<li><span class="soft">{away(one.at, now)}</span><span>{who}{prose(words(one))}</span></li>')
    return f'<ol class="events small">{"".join(shown)}</ol>'
