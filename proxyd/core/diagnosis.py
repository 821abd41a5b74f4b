"""Why a host has no new certificate, and what its owner does about it: from the failure and what arrived meanwhile."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.core.journal_event import JournalEvent
from proxyd.core.problem import tells_no_connection

_PORTS = {"http-01": "80", "tls-alpn-01": "443"}
_UNPAUSE = re.compile(r"https://\S*unpause\S*[^\s.,;)]")
_TERMS = re.compile(r"terms at (https://\S+)")
#: Let's Encrypt begins its details with the address: "2.5.1.7: Fetching http://…", "2001:db8::1: Invalid response …".
_LOOKED_AT = re.compile(r"(?:^|[\s:])((?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{0,4}:[0-9a-f:]+[0-9a-f]): (?=[A-Z])")
#: These say that somebody answered the CA.
_ANSWERED = ("unauthorized", "incorrectResponse", "tls")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`why` in plain words; `to_do`: nothing when it passes by itself; `brief`: why, in a few words, or nothing."""

    why: str
    to_do: str = ""
    brief: str = ""


def diagnose(host: Hostname, failure: Failure, events: Sequence[JournalEvent]) -> Diagnosis:
    """Return what the failure means; `host`: the name that it is about, `events` of its certificate, oldest first."""
    match failure.kind:
        case FailureKind.VALIDATION:
            return _validation(host, failure, events)
        case FailureKind.CA:
            return Diagnosis(
                f"The CA cannot give certificates now: {failure.message}. It is asked again until it can.",
                "Nothing, if the CA is known to be down; else check the network of this machine and acme.server.",
            )
        case FailureKind.RATE_LIMITED:
            return _limited(host, failure)
        case FailureKind.PAUSED:
            url = _UNPAUSE.search(failure.message)
            page = url[0] if url else "the page that the CA names"
            return Diagnosis(
                f"The CA paused this name after too many failures; only a person can end that: {failure.message}",
                f"Mend the DNS of {host}, open {page} and unpause it there, then `proxyd renew {host}`.",
                "paused by the CA",
            )
        case FailureKind.HOST_REFUSED:
            return Diagnosis(
                f"The CA will never say yes to this request: {failure.message}",
                f"Change the configuration and reload it, or `proxyd renew {host}`; else one order a day tries again.",
            )
        case FailureKind.ACCOUNT_REFUSED:
            terms = _TERMS.search(failure.message)
            asked = "Do what the text says, or settle it with the CA (`proxyd account` asks how it stands)"
            settle = f"Open {terms[1]} and accept the CA's terms" if terms else asked
            return Diagnosis(
                f"The CA refuses our account, whatever is asked for: {failure.message}",
                f"{settle}, then `proxyd renew {host}`; else one order an hour tries for all hosts.",
            )
        case FailureKind.LOCAL if failure.is_anothers_turn:
            return Diagnosis(f"It is not this daemon's turn to order: {failure.message}.")
        case FailureKind.LOCAL:
            return Diagnosis(f"It is this machine: {failure.message}", "Do what the text says; it is tried again.")
        case FailureKind.UNUSABLE:
            return Diagnosis(
                f"The CA gave a certificate, but it is no good: {failure.message}",
                f"Do what the text says, then `proxyd renew {host}`; else it is tried again, ever more rarely.",
            )
        case _:
            assert_never(failure.kind)


def _limited(host: Hostname, failure: Failure) -> Diagnosis:
    if failure.problem is not None:
        return Diagnosis(f"The CA's limit is reached; it named the time itself: {failure.message}")
    if "--force" in failure.message:
        return Diagnosis(
            f"Our own ceiling holds, which keeps any mistake from spending the CA's limit: {failure.message}",
            f"Nothing; or, when you know why so many were needed, `proxyd renew --force {host}`.",
        )
    return Diagnosis(f"The CA would refuse by a limit, so it was not asked: {failure.message}")


def _validation(host: Hostname, failure: Failure, events: Sequence[JournalEvent]) -> Diagnosis:
    match failure.problem:
        case "caa":
            return Diagnosis(
                f"A CAA record forbids this CA: {failure.message}",
                f"Add the CA to the CAA records of {host} (or of its parent domain), or remove them.",
                "CAA forbids the CA",
            )
        case "dns" | "dnssec":
            return Diagnosis(
                f"The DNS of the name does not work for the CA: {failure.message}",
                f"Let an A or AAAA record of {host} point to this machine; it is seen within a minute.",
                "the DNS does not work for the CA",
            )
        case kind if kind not in _ANSWERED and not failure.addresses and _has_no_address(host, events):
            return Diagnosis(
                f"The name has no address, as seen from here, and so the CA could not come to it: {failure.message}",
                f"Let an A or AAAA record of {host} point to this machine; it is seen within a minute.",
                "the DNS has no address",
            )
        case _:
            return _reached(host, failure, events)


def _has_no_address(host: Hostname, events: Sequence[JournalEvent]) -> bool:
    """Whether our own last look at the name found none; no answer of the DNS proves nothing."""
    look = next((one for one in reversed(events) if "addresses" in one.fields and one.kind != "order failed"), None)
    seen = look.fields["addresses"] if look else None
    return seen == [] or (isinstance(seen, Mapping) and seen.get(host.text) == [])


def _reached(host: Hostname, failure: Failure, events: Sequence[JournalEvent]) -> Diagnosis:
    """The CA came to some address: was it ours?"""
    order = _last_order(events)
    port = _PORTS.get(failure.challenge or "", "80")
    addresses = _addresses(failure, order, port)
    where = ", ".join(addresses) or "the address of the name"
    hits = (one for one in order if one.kind == "challenge request" and one.host == host)
    arrived = [one for one in hits if one.text("by") == failure.challenge]
    if arrived:
        clients = list(dict.fromkeys(one.text("client") for one in arrived))[:_SHOWN]
        return Diagnosis(
            f"Validation requests arrived here ({len(arrived)}, from {', '.join(clients)}) and were answered, "
            f"and yet the CA says: {failure.message}. It looks from several places: some came to another machine, "
            "or something in between changed the answer.",
            f"Let every A and AAAA record of {host} point to this machine, with no proxy or CDN in between.",
            "some of the CA's requests did not come here",
        )
    advice = (
        f"Let the A and AAAA records of {host} point to this machine, and open port {port} in every firewall; "
        "a change of the DNS is noticed within a minute, nothing has to be typed."
    )
    if failure.problem == "connection" or tells_no_connection(failure.message):
        return Diagnosis(
            f"The CA got no connection to {where}, and no validation request arrived here: port {port} is closed there "
            f"(firewall, router), or your DNS points to another machine. The CA says: {failure.message}",
            advice,
            "no connection from the CA: a closed port, or DNS points elsewhere",
        )
    if failure.problem not in _ANSWERED and not addresses:
        return Diagnosis(
            f"The CA could not confirm the name, and no validation request arrived here. It says: {failure.message}",
            advice,
            "the CA could not confirm the name",
        )
    return Diagnosis(
        f"The CA reached {where} but nothing arrived here: your {_record(addresses)} record points elsewhere, or a "
        f"router sends port {port} to another machine. The CA says: {failure.message}",
        advice,
        "DNS points elsewhere",
    )


def _record(addresses: Sequence[str]) -> str:
    """Return which records lead to the addresses."""
    six = any(one.startswith("[") for one in addresses)
    four = any(not one.startswith("[") for one in addresses) or not addresses
    return "A or AAAA" if six and four else "AAAA" if six else "A"


def _last_order(events: Sequence[JournalEvent]) -> Sequence[JournalEvent]:
    starts = [index for index, one in enumerate(events) if one.kind in ("order started", "order resumed")]
    return events[starts[-1] :] if starts else events


def _addresses(failure: Failure, order: Sequence[JournalEvent], port: str) -> list[str]:
    for event in reversed(order):
        if event.kind == "order failed" and (told := event.texts("addresses")):
            return told[:_SHOWN]
    found = dict.fromkeys(_LOOKED_AT.findall(failure.message))
    return [f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in found][:_SHOWN]
