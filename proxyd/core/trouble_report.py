"""Which troubles there are now: from what is known of every certificate, the cache and the clock."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from proxyd.core.alarm import Alarm
from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.clock_watch import Doubt
from proxyd.core.explanation import SET_THE_CLOCK
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.manual import Manual
from proxyd.core.renewal import Validity, begins_later
from proxyd.core.status import Facts
from proxyd.core.trouble import Trouble, TroubleKind, Urgency, urgency_of

#: Of these, all hosts of a CA have one in common.
_SHARED = {
    TroubleKind.CA_FAILED: "ca",
    TroubleKind.TERMS_CHANGED: "account",
    TroubleKind.ACCOUNT_REFUSED: "account",
    TroubleKind.ROOT_CHANGED: "root",
}
#: Of these, all hosts with the same file.
_OF_FILES = (TroubleKind.OWN_CERTIFICATE, TroubleKind.OWN_CERTIFICATE_ENDING)


def troubles(
    facts: Iterable[Facts],
    now: datetime,
    *,
    doubt: Doubt | None = None,
    cache: Alarm | None = None,
    others: Iterable[Alarm] = (),
) -> list[Trouble]:
    """Return every trouble once: what many hosts have in common is one of all of them.

    `others`: what else is wrong with the whole, one of a kind.
    """
    found = [*_of_machine(doubt, cache)]
    for alarm in others:
        key, urgency = alarm.kind.value, Urgency.NOTICED
        found.append(Trouble(key=key, kind=alarm.kind, urgency=urgency, reason=alarm.reason, to_do=alarm.to_do))
    shared: defaultdict[str, list[Trouble]] = defaultdict(list)
    for one in facts:
        if isinstance(one.state, Manual):  # one file may serve ten thousand hosts
            for trouble in _of_own(one.state, one, now):
                shared[trouble.key].append(trouble)
            continue
        for trouble in _of_certificate(one, now):
            if trouble.kind in _SHARED:
                shared[f"{_SHARED[trouble.kind]} {one.plan.issuers[0]}"].append(trouble)
            if trouble.kind not in _SHARED or trouble.urgency > Urgency.NOTICED:
                found.append(trouble)
    return [*found, *(_common(key, many) for key, many in shared.items())]


def _of_machine(doubt: Doubt | None, cache: Alarm | None) -> Iterator[Trouble]:
    if cache is not None:
        kind = TroubleKind.CACHE_NOT_DURABLE
        yield Trouble(key="cache", kind=kind, urgency=Urgency.NOTICED, reason=cache.reason, to_do=cache.to_do)
    if doubt is not None:
        kind = TroubleKind.CLOCK_WRONG
        yield Trouble(key="clock", kind=kind, urgency=Urgency.NOTICED, reason=doubt.reason, to_do=SET_THE_CLOCK)


def _of_certificate(facts: Facts, now: datetime) -> Iterator[Trouble]:
    host, kind = facts.plan.lineage.host, facts.plan.lineage.key_kind
    ends = facts.held.validity.not_after if facts.held else None
    for alarm in facts.alarms:
        yield Trouble(
            key=f"{alarm.kind.value} {host} {kind}",
            kind=alarm.kind,
            urgency=Urgency.NOTICED,
            reason=f"{host}: {alarm.reason}",
            to_do=alarm.to_do,
            hosts=(host,),
            runs_out_at=ends,
        )
    serving = _serving(facts, now)
    urgency = Urgency.NOTICED if _is_covered(facts, now) else urgency_of(serving, now)
    failure, next_try = _failure(facts.state, is_late=urgency > Urgency.NOTICED and facts.held is not None)
    if facts.plan.on_demand and (serving is None or failure is None):  # nobody misses it, or `ask` takes it back
        return
    if failure is None and (urgency < Urgency.NOTHING_SERVES or facts.held is None or _has_left(facts.state)):
        return
    yield Trouble(
        key=f"certificate {host} {kind}",
        kind=_kind(failure, facts.state),
        urgency=urgency,
        reason=failure.message if failure else f"{host}: the certificate is not valid now, and no other one is there",
        hosts=(host,),
        failure=failure,
        runs_out_at=ends if serving else None,
        next_try=next_try,
    )


def _of_own(own: Manual, facts: Facts, now: datetime) -> Iterator[Trouble]:
    """Yield what is wrong with a certificate of the operator's own; hosts with the same file share a key."""
    host, serving = facts.plan.lineage.host, _serving(facts, now)
    urgency = urgency_of(serving, now)
    found = [(f"chain {own.cert}", TroubleKind.OWN_CERTIFICATE, one.reason, one.to_do) for one in facts.alarms]
    if own.reason:
        found.append((f"own {own.cert}", TroubleKind.OWN_CERTIFICATE, own.reason, own.to_do))
    elif ending := own.ending(serving, now):
        found.append((f"own {own.cert}", TroubleKind.OWN_CERTIFICATE_ENDING, f"{own.cert}: {ending}", own.to_do))
    for key, kind, reason, to_do in found:
        yield Trouble(
            key=key,
            kind=kind,
            urgency=Urgency.NOTICED if key.startswith("chain ") else urgency,
            reason=reason,
            to_do=to_do,
            hosts=(host,),
            runs_out_at=serving.not_after if serving else None,
        )


def _serving(facts: Facts, now: datetime) -> Validity | None:
    held = facts.held.validity if facts.held else None
    return None if held is None or held.not_after <= now or begins_later(held, now) else held


def _is_covered(facts: Facts, now: datetime) -> bool:
    return facts.stand_in_until is not None and facts.stand_in_until > now


def _has_left(state: CertificateState | Manual) -> bool:
    return isinstance(state, Dormant) or (isinstance(state, Ordering) and state.dormant is not None)


def _failure(state: CertificateState | Manual, *, is_late: bool) -> tuple[Failure | None, datetime | None]:
    """Return why there is no new certificate, as far as somebody should hear of it, and when one is tried again.

    A first order, or a renewal in good time, may wait for its turn.
    """
    match state:
        case Waiting(retry_at=at, failures=failures, failure=failure, trouble=trouble):
            if failure.is_ceiling:
                return failure, at
            is_told = failures > 0 or is_late or failure.kind in (FailureKind.CA, FailureKind.ACCOUNT_REFUSED)
            return (trouble if is_told else None), at
        case Blocked(probe_at=at, failure=failure):
            return failure, at
        case Ordering(failures=failures, last=last, dormant=None):
            return (last if failures else None), None
        case Missing() | Ready() | Dormant() | Ordering() | Manual():  # dormant: the name has left us
            return None, None
        case _:
            assert_never(state)


def _kind(failure: Failure | None, state: CertificateState | Manual) -> TroubleKind:
    if failure is None:
        return TroubleKind.RENEWAL_FAILED
    if failure.kind is FailureKind.ACCOUNT_REFUSED:
        return TroubleKind.TERMS_CHANGED if failure.wants_terms else TroubleKind.ACCOUNT_REFUSED
    if failure.kind is FailureKind.CA:
        return TroubleKind.CA_FAILED
    if failure.is_ceiling:
        return TroubleKind.BREAKER_TRIPPED
    if failure.is_taken_back:
        return TroubleKind.SELF_HANDSHAKE_FAILED
    return TroubleKind.BLOCKED if isinstance(state, Blocked) else TroubleKind.RENEWAL_FAILED


def _common(key: str, many: list[Trouble]) -> Trouble:
    """Return what the hosts of a CA have in common; how little is left, each tells for itself. Or those of a file."""
    hosts = tuple(dict.fromkeys(host for one in many for host in one.hosts))
    ends = min((one.runs_out_at for one in many if one.runs_out_at), default=None)
    tries = min((one.next_try for one in many if one.next_try), default=None)
    if many[0].kind in _OF_FILES:
        worst = max(many, key=lambda one: one.urgency)
        return replace(worst, hosts=hosts, runs_out_at=ends)
    terms = next((one for one in many if one.kind is TroubleKind.TERMS_CHANGED), many[0])
    return replace(terms, key=key, hosts=hosts, urgency=Urgency.NOTICED, runs_out_at=ends, next_try=tries)
