"""The page of one host: what `proxyd explain` tells, with all that happened, newest first. A pure function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import groupby
from typing import Any

from proxyd.admin.life_bar import life_bar
from proxyd.admin.page_frame import moment, page, part, prose
from proxyd.admin.status_page import state_word
from proxyd.admin.traffic_view import host_traffic, upstream_table
from proxyd.core.counters import Document
from proxyd.core.event_words import words
from proxyd.core.explanation import Section
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.status import HostStatus

#: What is read first; the rest follows as it comes. What happened is shown by itself.
_FIRST = ("What to do", "Why", "What comes next", "What serves")
_BY_ITSELF = "What happened"
_NOTHING = ("Nothing.",)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStory:
    """What is shown. `events` oldest first; `upstreams` of this host, by address; `counts`: its answers by class."""

    version: str
    now: datetime
    row: HostStatus
    sections: Sequence[Section]
    events: Sequence[JournalEvent]
    counted: Document
    upstreams: Sequence[str]
    counts: Sequence[int]


def host_page(seen: HostStory) -> str:
    """Return the page as HTML."""
    row, name = seen.row, seen.row.host.text
    issuer = f'<span class="soft"> from {escape(row.issuer)}</span>' if row.issuer else ""
    head = f"<h1>{escape(name)}</h1><p>{state_word(row)}{issuer}</p>"
    beside = [
        part("upstreams", "Upstreams", upstream_table(seen.counted, seen.upstreams)),
        part("traffic", "Answers since the start", host_traffic(seen.counts)),
    ]
    tries = f'<p class="small soft">next try {moment(row.next_try, seen.now)}</p>' if row.next_try else ""
    told = [part("life", "Certificate", f"{life_bar(row, seen.now, moment)}{tries}")]
    told.append(f'<div id="story" data-live>{"".join(_section(one, row) for one in _ordered(seen.sections))}</div>')
    told.append(part("events", _BY_ITSELF, _days(seen.events, row)))
    return page(
        f"{name} · proxyd",
        head=head,
        main=f'<div class="columns"><div class="told">{"".join(told)}</div><div>{"".join(beside)}</div></div>',
        version=seen.version,
        now=seen.now,
        is_well=not row.needs_a_person,
    )


def not_found_page(name: str, why: str, *, version: str, now: datetime) -> str:
    """Return the page for a name that is not served."""
    return page(
        "not served here · proxyd",
        head=f"<h1>{escape(name)} is not served here</h1>",
        main=f'<p>{prose(why[:1].upper() + why[1:])}.</p><p><a href="/status">All hosts</a></p>',
        version=version,
        now=now,
        is_well=True,
    )


def story_of(
    told: Mapping[str, Any], *, version: str, now: datetime, counted: Document, upstreams: Sequence[str], of_host: str
) -> HostStory:
    """Return what the answer of `explain` tells, with what was counted; `of_host`: the name that answers go by."""
    return HostStory(
        version=version,
        now=now,
        row=HostStatus.read_document(Hostname(told["host"]), told["status"]),
        sections=[Section(title=one["title"], lines=tuple(one["lines"])) for one in told["sections"]],
        events=[
            JournalEvent(
                at=datetime.fromisoformat(one["at"]),
                host=Hostname(one["host"]) if one["host"] else None,
                kind=one["kind"],
                issuer=one["issuer"],
                fields=one["fields"],
            )
            for one in told["events"]
        ],
        counted=counted,
        upstreams=upstreams,
        counts=counted["hosts"].get(of_host, ()),
    )


def _ordered(sections: Sequence[Section]) -> list[Section]:
    shown = [one for one in sections if one.title != _BY_ITSELF]
    return sorted(shown, key=lambda one: _FIRST.index(one.title) if one.title in _FIRST else len(_FIRST))


def _section(section: Section, row: HostStatus) -> str:
    is_urgent = section.title == _FIRST[0] and section.lines != _NOTHING and row.needs_a_person
    lines = "".join(f"<p>{prose(line)}</p>" for line in section.lines)
    look = ' class="urgent"' if is_urgent else ""
    return f'<section class="story"><h2>{escape(section.title)}</h2><div{look}>{lines}</div></section>'


def _days(events: Sequence[JournalEvent], row: HostStatus) -> str:
    if not events:
        return '<p class="soft">Nothing is recorded.</p>'
    shown = []
    for day, of_day in groupby(reversed(events), key=lambda one: f"{one.at:%Y-%m-%d}"):
        lines = "".join(_event(one, row) for one in of_day)
        shown.append(f'<h3><time datetime="{day}">{day}</time></h3><ol class="events small">{lines}</ol>')
    return "".join(shown)


def _event(event: JournalEvent, row: HostStatus) -> str:
    at = f'<time class="soft number" datetime="{event.at:%Y-%m-%dT%H:%M:%SZ}">{event.at:%H:%M:%S}</time>'
    other = f"{escape(event.host.text)}: " if event.host and event.host != row.host else ""
    return f"<li>{at}<span>{other}{prose(words(event))}</span></li>"
