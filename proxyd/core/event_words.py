"""What happened, in a line for people."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from proxyd.core.internal_ca import INTERNAL
from proxyd.core.journal_event import JournalEvent

_MOST = 400  # characters of what a CA said; the JSON has everything


def words(event: JournalEvent) -> str:
    """Return the event as one line. Total: an event of a newer version is shown by its own name."""
    known = _WORDS.get(event.kind)
    return known(event) if known else event.kind


def _started(event: JournalEvent) -> str:
    renewal = " as a renewal" if event.text("replaces") else ""
    if event.issuer == INTERNAL:
        return "ordered from the internal CA"
    return (
        f"ordered from {event.issuer}{renewal}, to be proved by {' or '.join(event.texts('challenges')) or 'nothing'}"
    )


def _failed(event: JournalEvent) -> str:
    seen = f"; the CA looked at {', '.join(event.texts('addresses'))}" if event.texts("addresses") else ""
    return f"{event.issuer} gave none ({event.text('kind')}): {_cut(event.text('reason'))}{seen}"


def _arrived(event: JournalEvent) -> str:
    token = f", token {event.text('token')[:12]}…" if event.text("token") else ""
    agent = f", {event.text('agent')[:80]}" if event.text("agent") else ""
    return f"validation request by {event.text('by')} from {event.text('client')}{token}{agent}: answered"


def _issued(event: JournalEvent) -> str:
    proof = f", proved by {event.text('challenge')}" if event.text("challenge") else ", by a proof that it remembered"
    if event.issuer == INTERNAL:
        proof = ""
    return f"{event.issuer} gave certificate {event.text('serial')}{proof}, valid until {_moment(event, 'not_after')}"


def _window(event: JournalEvent) -> str:
    why = f" ({event.text('explanation')})" if event.text("explanation") else ""
    start, end, at = (_moment(event, key) for key in ("start", "end", "renew_at"))
    return f"{event.issuer} wants it replaced between {start} and {end}{why}: planned for {at}"


def _preflight(event: JournalEvent) -> str:
    found = "; ".join(event.texts("findings")) or "nothing speaks against an order"
    return f"looked at the name before the first order: {found}"


def _refused(event: JournalEvent) -> str:
    detail = f" ({_cut(event.text('detail'))})" if event.text("detail") else ""
    count = event.fields.get("refused")
    return f"names refused: {count}: {event.text('reasons')}; the last one was {event.text('last')}{detail}"


def _seen(event: JournalEvent) -> str:
    addresses = ", ".join(event.texts("addresses")) or "no address"
    caa = f"; CAA: {', '.join(event.texts('caa'))}" if event.texts("caa") else ""
    port = f"; port 80: {', '.join(event.texts('port80'))}" if event.texts("port80") else ""
    return f"the DNS says {addresses}{caa}{port}"


def _wished(event: JournalEvent) -> str:
    past = ", past our own ceiling" if event.fields.get("forced") is True else ""
    return f"a person asked for a new certificate (user {event.fields.get('uid')}, `proxyd {event.text('by')}`){past}"


def _revoked(event: JournalEvent) -> str:
    if event.issuer == INTERNAL:
        return f"certificate {event.text('serial')} never serves again ({event.text('reason')})"
    return f"certificate {event.text('serial')} was revoked ({event.text('reason')})"


def _ran(event: JournalEvent) -> str:
    said = f", and said: {event.text('said')}" if event.text("said") else ""
    return f"on_renew: {event.text('program')} ended well after {event.fields.get('seconds')} s{said}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _moment(event: JournalEvent, key: str) -> str:
    try:
        return f"{datetime.fromisoformat(event.text(key)).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return "an unknown time"


def _with_reason(text: str) -> Callable[[JournalEvent], str]:
    return lambda event: f"{text}: {_cut(event.text('reason'))}"


_WORDS: Mapping[str, Callable[[JournalEvent], str]] = {
    "order started": _started,
    "order resumed": lambda event: f"{_started(event)}: an order that a stop had cut off is continued",
    "replaces refused": _with_reason("ordered once more, not as the renewal of the certificate that serves"),
    "order failed": _failed,
    "postponed": _with_reason("not sent"),
    "not ordered": _with_reason("not ordered"),
    "forgotten": _with_reason("forgotten"),
    "new on demand": lambda event: f"{event.text('client')} asked for it first: {_cut(event.text('reason'))}",
    "again on demand": lambda event: f"{event.text('client')} asked for it again: {_cut(event.text('reason'))}",
    "refused on demand": _refused,
    "challenge request": _arrived,
    "certificate issued": _issued,
    "due at once": _with_reason("no other one is asked for at once"),
    "confirmed": lambda event: f"our own listener shows certificate {event.text('serial')}",
    "not confirmed": _with_reason("the new certificate is not confirmed"),
    "taken back": _with_reason("the new certificate was taken back, the one before serves"),
    "not kept": _with_reason("the new certificate serves, but could not be kept"),
    "own used": lambda event: (
        f"certificate {event.text('serial')} of your own, from {event.text('cert')}, serves; valid until "
        f"{_moment(event, 'not_after')}"
    ),
    "own refused": _with_reason("a certificate of your own cannot be used as it is"),
    "exported": lambda event: f"copies for other programs were written to {event.text('to')}",
    "export failed": _with_reason("copies for other programs could not be written"),
    "on_renew ran": _ran,
    "on_renew failed": _with_reason("the program that was to be told of the new certificate failed"),
    "kept": lambda _: "the certificate is kept on disk now",
    "repaired": _with_reason("the cache was repaired"),
    "window": _window,
    "preflight": _preflight,
    "dns seen": _seen,
    "names changed": lambda event: f"looks mended, tried at once: {'; '.join(event.texts('changes'))}",
    "woken": lambda event: f"woke up: {'; '.join(event.texts('changes'))}",
    "dormant": lambda _: "the name has left us: it sleeps, with one order a week",
    "renewal wished": _wished,
    "revoked": _revoked,
    "not revoked": _with_reason("the certificate was not revoked"),
    "internal root": lambda event: f"the internal CA has a new root, {event.text('root')}",
    "account key replaced": lambda event: f"the account key at {event.issuer} was replaced",
}
