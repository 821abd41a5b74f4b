"""The story of a wildcard host, and of a name under one that got no certificate."""

from collections.abc import Sequence
from datetime import datetime

from proxyd.core.certifiable import may_be_certified
from proxyd.core.explanation import Section, history, proof, when
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.on_demand_view import OnDemandView
from proxyd.core.refusal import Refusal
from proxyd.core.status import HostStatus

_SHOWN = 20
_ENDED = ("order failed", "not ordered", "forgotten")


def explain_pattern(
    view: OnDemandView, events: Sequence[JournalEvent], now: datetime, *, urgent: Sequence[str] = ()
) -> list[Section]:
    """Return the story of a wildcard host; `events` are its own, oldest first. `urgent`: what is to be done first."""
    names = ", ".join(one.text for one in view.names[:_SHOWN])
    more = f", and {len(view.names) - _SHOWN} more" if len(view.names) > _SHOWN else ""
    serves = f"Names with a certificate, or an order: {names}{more}." if names else "No name has a certificate yet."
    used = f"{view.new_today} of {view.max_new_per_day} new names in 24 hours are used, all wildcard hosts together."
    to_do = _raise(view) if view.free_at else "Nothing; `proxyd explain NAME` tells why a name was refused."
    return [
        Section(title="Policy", lines=(_policy(view),)),
        Section(title="What serves", lines=(serves,)),
        history(events),
        Section(title="What comes next", lines=(used, _coming(view, now))),
        Section(title="What to do", lines=(*urgent, to_do)),
    ]


def explain_unserved(
    host: Hostname,
    view: OnDemandView,
    refusal: Refusal | None,
    events: Sequence[JournalEvent],
    now: datetime,
    *,
    urgent: Sequence[str] = (),
) -> list[Section]:
    """Return the story of a name under a wildcard host that has neither a certificate nor an order.

    `events`, oldest first: its own and the wildcard host's; `refusal`: why the last client was sent away.
    """
    why, to_do = _cause(host, view, refusal, events)
    return [
        Section(title="Policy", lines=(_policy(view),)),
        Section(title="What serves", lines=(f"No certificate: clients that ask for {host} are refused.",)),
        history(events),
        Section(title="Why", lines=(why,)),
        Section(title="What comes next", lines=(_coming(view, now),)),
        Section(title="What to do", lines=(*urgent, to_do)),
    ]


def pattern_status(host: Hostname, view: OnDemandView) -> HostStatus:
    """Return the row of a wildcard host."""
    return HostStatus(host=host, state=view.state, issuer=view.issuers[0], next_try=view.free_at)


def unserved_status(host: Hostname, view: OnDemandView, refusal: Refusal | None) -> HostStatus:
    """Return the row of such a name; nobody has to do anything about it."""
    text = f"refused at {refusal.at:%Y-%m-%d %H:%M} UTC: {refusal}" if refusal else "no client got it a certificate"
    return HostStatus(
        host=host, state="missing", issuer=view.issuers[0], last_error=f"{host}: {text}", next_try=view.free_at
    )


def _policy(view: OnDemandView) -> str:
    then = f", else from {', then '.join(view.issuers[1:])}" if view.issuers[1:] else ""
    allowed = f"if {view.ask} allows it" if view.ask else "whatever it is"
    return (
        f"Each name under {view.pattern} gets a certificate when a client first asks for it, {allowed}: at most "
        f"{view.max_new_per_day} new names in 24 hours, from {view.issuers[0]}{then}; "
        f"{proof(view.issuers[0], view.challenges)}."
    )


def _coming(view: OnDemandView, now: datetime) -> str:
    if view.free_at is not None:
        return f"No new name gets a certificate before one is allowed again {when(view.free_at, now)}."
    asked = f"{view.ask} is asked, and with its yes" if view.ask else "at once"
    return f"When a client next asks for a new name, {asked} a certificate is ordered."


def _cause(
    host: Hostname, view: OnDemandView, refusal: Refusal | None, events: Sequence[JournalEvent]
) -> tuple[str, str]:
    """Return why, and what to do."""
    if not may_be_certified(host, public=view.public):
        return "No CA certifies such a name.", "Use a name that the public DNS can have."
    if refusal is None:
        ended = next((one for one in reversed(events) if one.host == host and one.kind in _ENDED), None)
        if ended is not None:
            return f"It was tried and given up: {ended.text('reason')}.", "Nothing: the next client starts it anew."
        if view.free_at is not None:
            return "The day's new names are used up.", _raise(view)
        return "No refused client is remembered: none asked for it lately.", "Nothing: the first client starts it."
    why = f"At {refusal.at:%Y-%m-%d %H:%M:%S} UTC a client was refused: {refusal}."
    match refusal.reason:
        case "ask refused":
            return why, (
                f"If {host} shall have a certificate, let {view.ask} answer 2xx to ?domain={host}; "
                "it is asked again five minutes after its no."
            )
        case "ask gave no answer":
            return why, f"Let {view.ask} answer within two seconds; it is asked again after 15 seconds."
        case "max_new_per_day is used up":
            return why, _raise(view)
        case "this daemon does not order":
            return why, "Let the clients of new names come to the daemon that orders; this one takes them in its turn."
        case _:
            return why, "Nothing: it is tried again when a client next asks for it."


def _raise(view: OnDemandView) -> str:
    return f"If these names are yours, raise acme.on_demand.max_new_per_day of {view.pattern} and reload."
