"""The story of a host in plain words: what is wanted, what serves, what happened, why, what comes next, what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from proxyd.core.alarm import Alarm
from proxyd.core.certificate_state import Blocked, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.clock_watch import Doubt
from proxyd.core.diagnosis import diagnose
from proxyd.core.event_words import words
from proxyd.core.failure import Failure
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import INTERNAL
from proxyd.core.journal_event import JournalEvent
from proxyd.core.manual import Manual
from proxyd.core.renewal import begins_later
from proxyd.core.status import Facts

_HISTORY = 30
SET_THE_CLOCK = "Set the clock of this machine (timedatectl set-ntp true)."
START_THE_DAEMON = "Start the daemon: nothing happens while none runs."
_LOOKS = ("preflight", "dns seen", "names changed", "woken", "dormant")
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with its lines."""

    title: str
    lines: tuple[str, ...]


def explain(
    host: Hostname,
    facts: Sequence[Facts],
    events: Sequence[JournalEvent],
    now: datetime,
    *,
    profiles: Mapping[str, str | None],
    runs: bool = True,
    doubt: Doubt | None = None,
    cache: Alarm | None = None,
) -> list[Section]:
    """Return the story of `host`; `events` oldest first, `profiles` by CA, `runs`: a daemon does what is planned.

    `doubt`: why the clock of the machine is not believed; `cache`: why nothing can be kept.
    """
    sections = [Section(title="Policy", lines=tuple(_policy(one, profiles) for one in facts))]
    sections.append(Section(title="What serves", lines=tuple(_serving(host, one, now) for one in facts)))
    sections.append(history(events))
    if seen := next((one for one in reversed(events) if one.kind in _LOOKS and "addresses" in one.fields), None):
        sections.append(Section(title="The name as seen from here", lines=tuple(_view(seen))))
    why, to_do = _causes(host, facts, events, now, cache)
    if doubt is not None:
        why, to_do = (f"It is this machine: {doubt.reason}.", *why), (SET_THE_CLOCK, *to_do)
    if why:
        sections.append(Section(title="Why", lines=why))
    coming = _next(facts, now, runs=runs)
    if doubt is not None and doubt.holds:
        coming = ("Nothing is ordered until the clock is believed again; what serves, serves on.",)
    sections.append(Section(title="What comes next", lines=coming))
    if not runs:
        to_do = (START_THE_DAEMON, *to_do)
    sections.append(Section(title="What to do", lines=to_do or ("Nothing.",)))
    return sections


def history(events: Sequence[JournalEvent]) -> Section:
    """Return the latest events, oldest first."""
    lines = [f"{one.at:%Y-%m-%d %H:%M:%S}  {words(one)}" for one in events[-_HISTORY:]]
    return Section(title="What happened", lines=tuple(lines) or ("Nothing is recorded.",))


def _policy(facts: Facts, profiles: Mapping[str, str | None]) -> str:
    plan = facts.plan
    if isinstance(facts.state, Manual):
        return f"A certificate of your own, from {facts.state.files}: proxyd orders none, and nothing renews it."
    shown = [f"{one} (profile {profile})" if (profile := profiles.get(one)) else one for one in plan.issuers]
    then = f", else from {', then '.join(shown[1:])}" if shown[1:] else ""
    names = ", ".join(name.text for name in plan.lineage.names)
    return (
        f"One certificate for {names} with a {plan.lineage.key_kind} key from {shown[0]}{then}; "
        f"{proof(plan.issuers[0], plan.challenges)}."
    )


def proof(issuer: str, challenges: Sequence[str]) -> str:
    """Return how a CA is shown that the names are ours, or what our own needs instead."""
    if issuer == INTERNAL:
        return "it is our own CA and asks for no proof: clients have to trust its root, which `proxyd trust` prints"
    return f"proved by {' or '.join(challenges)}"


def _serving(host: Hostname, facts: Facts, now: datetime) -> str:
    held = facts.held
    if held is None:
        damage = f" ({facts.damage})" if facts.damage else ""
        if isinstance(facts.state, Manual):
            return f"No certificate: clients that ask for {host} are refused."
        if facts.stand_in_until is not None:
            until = _at(facts.stand_in_until)
            return f"No certificate of its own{damage}: one that covers {host}, too, serves until {until}."
        return f"No certificate{damage}: clients that ask for {host} are refused."
    who = held.signed_by or held.issuer or "an unknown CA"
    origin = f", obtained from {held.issuer}" if held.issuer else ""
    left = held.validity.not_after - now
    rest = f"{_span(left)} left" if left > timedelta(0) else f"EXPIRED {_span(-left)} ago"
    rest = "NOT VALID YET: clients refuse it" if begins_later(held.validity, now) else rest
    return (
        f"Certificate {held.serial:x} by {who}{origin}, valid {held.validity.not_before:%Y-%m-%d %H:%M} to "
        f"{_at(held.validity.not_after)} ({rest}).{_other_key(host, facts.plan.lineage.key_kind, held.key_kind)}"
    )


def _other_key(host: Hostname, wanted: str, serves: str) -> str:
    if serves in ("", wanted):
        return ""
    return f" Its key is {serves}, the next one's {wanted}: `proxyd renew {host}` orders it now."


def _view(event: JournalEvent) -> list[str]:
    told = [("addresses", "Addresses"), ("caa", "CAA records"), ("port80", "Port 80"), ("trouble", "DNS trouble")]
    shown = [f"{name}: {', '.join(found)}" for key, name in told if (found := event.texts(key))]
    return [f"At {_at(event.at)}:", *(shown or ["No address."])]


def _causes(
    host: Hostname, facts: Sequence[Facts], events: Sequence[JournalEvent], now: datetime, cache: Alarm | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    why, to_do = dict[str, None](), dict[str, None]()
    for alarm in (*([cache] if cache else []), *(alarm for one in facts for alarm in one.alarms)):
        why[f"{alarm.reason[0].upper()}{alarm.reason[1:]}."] = None
        to_do[alarm.to_do] = None
    for one in facts:
        if isinstance(one.state, Manual) and (reason := _own_trouble(one.state, one, now)):
            why[f"{reason[0].upper()}{reason[1:]}."] = None
            to_do[one.state.to_do] = None
        for failure in failures_of(one, now):
            is_of_one = failure.name in one.plan.lineage.names  # another one of a shared certificate, as a rule
            found = diagnose(failure.name if failure.name and is_of_one else host, failure, events)
            why[found.why] = None
            if found.to_do:
                to_do[found.to_do] = None
    return tuple(why), tuple(to_do)


def failures_of(facts: Facts, now: datetime) -> Sequence[Failure]:
    """Return why there is no new certificate, the present trouble first; none: there is no failure."""
    match facts.state:
        case Waiting(failure=failure, trouble=trouble):
            return (trouble,) if trouble == failure else (trouble, failure)
        case Blocked(failure=failure) | Dormant(failure=failure):
            return (failure,)
        case Ready(refused=Failure(retry_at=until) as refused) if until is not None and until > now:
            return (refused,)
        case Missing() | Ordering() | Ready() | Manual():
            return ()
        case _:
            assert_never(facts.state)


def _next(facts: Sequence[Facts], now: datetime, *, runs: bool) -> tuple[str, ...]:
    lines = tuple(dict.fromkeys(_coming(one, now) for one in facts))
    return lines if runs else tuple(f"Once a daemon runs: {line}" for line in lines)


def _own_trouble(own: Manual, facts: Facts, now: datetime) -> str | None:
    return own.reason or own.ending(facts.held.validity if facts.held else None, now)


def _coming(facts: Facts, now: datetime) -> str:
    match facts.state:
        case Manual():
            return "What is put into its files is served within seconds, without a reload; until then what serves does."
        case Missing():
            return "A certificate is ordered as soon as one of the four places for orders is free."
        case Ordering():
            return "An order is under way."
        case Ready(renew_at=at, window=window):
            told = ""
            if window is not None:
                why = f", because {window.explanation_url}" if window.explanation_url else ""
                place = "a moment in" if at >= window.start else "spread ahead of"
                told = f", {place} the CA's window {_at(window.start)} to {_at(window.end)}{why}"
            return f"It is renewed {when(at, now)}{told}."
        case Waiting(failure=failure) if failure.is_anothers_turn:
            return "The other daemon orders; what it obtains serves here within seconds."
        case Waiting(retry_at=at, failures=failures, trouble=failure):
            count = f" after {failures} {'failure' if failures == 1 else 'failures'}" if failures else ""
            sooner = ", or at once when its DNS changes" if failure.may_be_dns else ""
            return f"The next order{count} is sent {when(at, now)}{sooner}."
        case Blocked(probe_at=at):
            return f"One order is tried all the same {when(at, now)}."
        case Dormant(since=since, probe_at=at):
            return (
                f"Dormant since {_at(since)}: its DNS points elsewhere, it fails, and nobody asked for it for a week. "
                f"It wakes when its DNS comes back; one order is tried {when(at, now)}."
            )
        case _:
            assert_never(facts.state)


def when(at: datetime, now: datetime) -> str:
    """Return a time to come as a person reads it."""
    return f"at {_at(at)} (in {_span(at - now)})" if at > now else "now"


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _span(span: timedelta) -> str:
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if span >= 2 * unit:
            return f"{span // unit} {name}"
    return f"{int(span.total_seconds())} s"
