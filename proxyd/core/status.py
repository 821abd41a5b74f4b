"""What is said of each host: one row a name, made from the states, whoever asks and whether or not the daemon runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from proxyd.core.alarm import Alarm
from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Missing, Ordering, Ready, Waiting
from proxyd.core.clock_watch import Doubt
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Plan
from proxyd.core.manual import Manual
from proxyd.core.renewal import RenewalWindow, begins_later, is_ending

#: From best to worst: a host with two kinds of keys shows the worse.
_WORSE = ("manual", "ready", "ordering", "waiting", "dormant", "blocked", "missing")
_MOMENTS = ("not_before", "not_after", "renew_at", "next_try")
_PLAIN = ("state", "issuer", "serial", "failures", "last_error", "explanation_url", "needs_a_person")
#: Failures that pass without anybody's help.
_PASSING = (FailureKind.CA, FailureKind.RATE_LIMITED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one lineage.

    `damage`: why what is on the disk cannot serve; `alarms`: what needs a person although something serves;
    `stand_in_until`: so long another certificate covers the host.
    """

    plan: Plan
    state: CertificateState | Manual
    held: Held | None
    damage: str | None = None
    alarms: tuple[Alarm, ...] = ()
    stand_in_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """One row. `state`: ready, ordering, waiting, blocked, dormant, missing or manual.

    `window`: when the CA wants the certificate replaced (ARI).
    """

    host: Hostname
    state: str
    issuer: str | None
    serial: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    renew_at: datetime | None = None
    failures: int = 0
    last_error: str | None = None
    next_try: datetime | None = None
    explanation_url: str | None = None
    needs_a_person: bool = False
    alarms: tuple[str, ...] = ()
    window: RenewalWindow | None = None

    def to_document(self) -> dict[str, object]:
        """Return the row as JSON values (times RFC 3339, UTC)."""
        return {
            "state": self.state,
            "issuer": self.issuer,
            "serial": self.serial,
            "not_before": rfc3339(self.not_before),
            "not_after": rfc3339(self.not_after),
            "renew_at": rfc3339(self.renew_at),
            "failures": self.failures,
            "last_error": self.last_error,
            "next_try": rfc3339(self.next_try),
            "explanation_url": self.explanation_url,
            "needs_a_person": self.needs_a_person,
            "alarms": list(self.alarms),
        }

    @classmethod
    def read_document(cls, host: Hostname, document: Mapping[str, Any]) -> "HostStatus":
        """Return the row that `to_document` made."""
        told: dict[str, Any] = {key: document[key] for key in _PLAIN}
        told |= {key: datetime.fromisoformat(at) if (at := document[key]) else None for key in _MOMENTS}
        return cls(host=host, alarms=tuple(document["alarms"]), **told)


def host_statuses(facts: Iterable[Facts], now: datetime) -> dict[Hostname, HostStatus]:
    """Return one row for each name, in the order of the names."""
    rows: dict[Hostname, HostStatus] = {}
    for one in facts:
        for name in one.plan.lineage.names:
            row = _row(name, one, now)
            seen = rows.get(name)
            if seen is None or _rank(row) > _rank(seen):
                rows[name] = row
    return dict(sorted(rows.items()))


#: What else may be wrong with the whole: under these keys `status` and the metrics tell it.
OTHERS: Final = ("access_log", "user_file")


def status_document(
    rows: Mapping[Hostname, HostStatus],
    budget: Mapping[str, object],
    *,
    version: str,
    from_daemon: bool,
    doubt: Doubt | None = None,
    cache: Alarm | None = None,
    refused: str | None = None,
    others: Mapping[str, Alarm] | None = None,
    on_demand: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, object]:
    """Return what `proxyd status --json` and /status.json promise.

    `doubt`: why the clock is not believed; `cache`: why nothing can be kept; `refused`: why the file as it is now is
    not in force; `others`: what else is wrong with the whole, by its key here; `on_demand`: what each
    wildcard host allows.
    """
    wrong = others or {}
    return {
        "version": version,
        "ok": not (doubt or cache or refused or wrong) and not any(row.needs_a_person for row in rows.values()),
        "clock": doubt.reason if doubt else None,
        "cache": cache.reason if cache else None,
        "reload": refused,
        **{key: wrong[key].reason if key in wrong else None for key in OTHERS},
        "from": "daemon" if from_daemon else "cache",
        "hosts": {host.text: row.to_document() for host, row in rows.items()},
        "on_demand": dict(on_demand or {}),
        "budget": dict(budget),
    }


def budget_document(facts: Iterable[Facts], left: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, object]]:
    """Return for each CA how many orders are left, and which hosts wait for a limit until when."""
    found: dict[str, dict[str, object]] = {}
    waiting: dict[str, dict[str, str | None]] = {}
    for one in facts:
        for issuer in one.plan.issuers:
            room: Mapping[str, int] = left.get(issuer, {})
            found.setdefault(issuer, {"orders_left": room.get("orders_left"), "orders_limit": room.get("orders_limit")})
        state = one.state
        if isinstance(state, Waiting) and state.failure.kind is FailureKind.RATE_LIMITED:
            hosts = waiting.setdefault(one.plan.issuers[0], {})
            hosts[one.plan.lineage.host.text] = rfc3339(state.retry_at)
    for issuer, document in found.items():
        document["waiting"] = dict(sorted(waiting.get(issuer, {}).items()))
    return found


def rfc3339(at: datetime | None) -> str | None:
    """Return a moment as machines read it: whole seconds, UTC, Z."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(name: Hostname, facts: Facts, now: datetime) -> HostStatus:
    held = facts.held
    own = facts.state if isinstance(facts.state, Manual) else None
    state, failures, failure, due, url = _parts(facts.state, has_any=held is not None)
    last_error = failure.message if failure else facts.damage
    if own is not None:
        last_error = own.reason or own.ending(held.validity if held else None, now)
    if held is not None and held.validity.not_after <= now:
        last_error = last_error or f"{name}: the certificate expired at {held.validity.not_after:%Y-%m-%d %H:%M} UTC"
        state = "missing" if state in ("ready", "manual") else state
    if held is not None and begins_later(held.validity, now):
        begin = f"{held.validity.not_before:%Y-%m-%d %H:%M} UTC"
        last_error = last_error or f"{name}: the certificate is not valid before {begin}: clients refuse it"
        state = "missing" if state in ("ready", "manual") else state
    return HostStatus(
        host=name,
        state=state,
        issuer=(held.issuer or held.signed_by or None) if held else next(iter(facts.plan.issuers), None),
        serial=f"{held.serial:x}" if held else None,
        not_before=held.validity.not_before if held else None,
        not_after=held.validity.not_after if held else None,
        renew_at=due if isinstance(facts.state, Ready) else None,
        failures=failures,
        last_error=last_error,
        next_try=None if isinstance(facts.state, Ready) else due,
        explanation_url=url,
        needs_a_person=bool(facts.alarms)
        or (own is not None and last_error is not None)
        or (_needs_a_person(state, failure, failures, held, now) and not _is_given_up(facts, failures)),
        alarms=tuple(alarm.reason for alarm in facts.alarms),
        window=facts.state.window if isinstance(facts.state, Ready) else None,
    )


def _parts(
    state: CertificateState | Manual, *, has_any: bool
) -> tuple[str, int, Failure | None, datetime | None, str | None]:
    match state:
        case Manual():
            return "manual" if has_any else "missing", 0, None, None, None
        case Missing():
            return "missing", 0, None, None, None
        case Ordering(failures=failures):
            return "ordering", failures, None, None, None
        case Ready(renew_at=at, window=window):
            return "ready", 0, None, at, window.explanation_url if window else None
        case Waiting(retry_at=at, failures=failures, trouble=failure):
            return "waiting", failures, failure, at, None
        case Blocked(probe_at=at, failures=failures, failure=failure):
            return "blocked", failures, failure, at, None
        case Dormant(probe_at=at, failures=failures, failure=failure):
            return "dormant", failures, failure, at, None
        case _:
            assert_never(state)


def _needs_a_person(state: str, failure: Failure | None, failures: int, held: Held | None, now: datetime) -> bool:
    """A valid certificate that will be renewed by itself needs nobody; nor does a host that left us."""
    if state in ("ready", "dormant", "manual"):
        return False
    if state in ("blocked", "missing") or held is None or is_ending(held.validity, now):
        return True
    return failures > 0 and (failure is None or failure.kind not in _PASSING)


def _is_given_up(facts: Facts, failures: int) -> bool:
    """Whether nobody misses it: a client asked for a name that gets no certificate, or `ask` takes a name back."""
    return facts.plan.on_demand and (facts.held is None or failures == 0)


def _rank(row: HostStatus) -> tuple[bool, int]:
    return row.needs_a_person, _WORSE.index(row.state)
