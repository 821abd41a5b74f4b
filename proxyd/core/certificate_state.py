"""The life of one host's certificate as a state machine: one pure `step`, the due times inside the states."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from proxyd.core.backoff import LONGEST_WAIT, retry_at
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.renewal import RenewalWindow

if TYPE_CHECKING:
    import random

#: A dormant host gets one order a week all the same.
_DORMANT_RETRY = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Missing:
    """No certificate, none under way: due at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """An order runs; `failures` in a row before it, `unproved` of them failed validations; `dormant`: it was before.

    `last`: why the order before gave none.
    """

    failures: int
    unproved: int = 0
    dormant: "Dormant | None" = None
    last: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A certificate serves; the next order is due at `renew_at`.

    `planned`: when it would be, had nobody wished for it sooner; `refused`: why the last wish was not fulfilled.
    """

    renew_at: datetime
    window: RenewalWindow | None = None
    planned: datetime | None = None
    refused: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The last order failed, or none could be sent; one is due at `retry_at`. What served before keeps serving.

    `failure` is what it waits for now; `last`, when that is only why no order was sent, why the last one gave none.
    """

    retry_at: datetime
    failures: int
    failure: Failure
    unproved: int = 0
    last: Failure | None = None

    @property
    def reason(self) -> str:
        return self.failure.message

    @property
    def trouble(self) -> Failure:
        """Return what keeps the certificate from being obtained, whatever puts the next order off."""
        return self.last or self.failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """The same request can never succeed; a new configuration, `renew`, or the one order at `probe_at` may end it."""

    probe_at: datetime
    failures: int
    failure: Failure
    unproved: int = 0

    @property
    def reason(self) -> str:
        return self.failure.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Dormant:
    """The name left us: no budget is spent on it but one order at `probe_at`."""

    since: datetime
    probe_at: datetime
    failures: int
    failure: Failure
    unproved: int = 0

    @property
    def reason(self) -> str:
        return self.failure.message


CertificateState = Missing | Ordering | Ready | Waiting | Blocked | Dormant


@dataclass(frozen=True, slots=True)
class Started:
    """An order was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A certificate is there: issued just now, or found in the store; `renew_at` is where its renewal was placed."""

    renew_at: datetime
    window: RenewalWindow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLearned:
    """The CA told its window (None: it has none, or none that makes sense) for the serving certificate."""

    renew_at: datetime
    window: RenewalWindow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The order gave none. `lifetime`: of the certificate that serves meanwhile."""

    failure: Failure
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """The order was not sent: a limit has no room before `until`. Costs no failure.

    `was_sent`: it was, and another challenge type or CA is tried. `ends_wish`: our own ceiling is what has no room, and
    a certificate that serves is renewed when it is planned.
    """

    failure: Failure
    until: datetime
    was_sent: bool = False
    ends_wish: bool = False


@dataclass(frozen=True, slots=True)
class Wished:
    """Try now, or at `at`: a person said so (`is_extra`), the configuration changed, or what failed looks mended."""

    at: datetime | None = None
    is_extra: bool = False


@dataclass(frozen=True, slots=True)
class LeftUs:
    """The name has pointed elsewhere, failed and been unused for a week (core/dormancy.py)."""


Event = Started | Obtained | WindowLearned | Failed | Postponed | Wished | LeftUs


def step(state: CertificateState, event: Event, now: datetime, rng: "random.Random") -> CertificateState:
    """Return the state after `event`. Total: every event is meaningful in every state."""
    match event:
        case Started():
            dormant = state if isinstance(state, Dormant) else None
            return Ordering(failures=_failures(state), unproved=_unproved(state), dormant=dormant, last=_last(state))
        case Obtained(renew_at=at, window=window):
            return Ready(renew_at=at, window=window)
        case WindowLearned():
            return _placed(state, event)
        case Failed(failure=failure, lifetime=lifetime):
            return _failed(state, failure, now, rng, lifetime)
        case Postponed():
            return _postponed(state, event, now)
        case Wished(at=at, is_extra=is_extra):
            return _wished(state, now if at is None else at, is_extra=is_extra)
        case LeftUs():
            return _left(state, now)
        case _:
            assert_never(event)


def due_at(state: CertificateState, now: datetime) -> datetime | None:
    """Return when the next order shall begin, or None while one runs."""
    match state:
        case Missing():
            return now
        case Ordering():
            return None
        case Ready(renew_at=at) | Waiting(retry_at=at) | Blocked(probe_at=at) | Dormant(probe_at=at):
            return at
        case _:
            assert_never(state)


def settled(state: CertificateState, now: datetime, rng: "random.Random") -> CertificateState:
    """Return the state without times that only a wrong clock can have set; what failed waits as if it failed now."""
    match state:
        case Waiting(retry_at=at) if at > now + LONGEST_WAIT:
            return replace(state, retry_at=_anew(state, now, rng))
        case Blocked(probe_at=at) if at > now + LONGEST_WAIT:
            return replace(state, probe_at=_anew(state, now, rng))
        case Dormant(since=since, probe_at=at):
            return replace(state, since=min(since, now), probe_at=min(at, now + _DORMANT_RETRY))
        case _:
            return state


def _anew(state: Waiting | Blocked, now: datetime, rng: "random.Random") -> datetime:
    failure = replace(state.failure, retry_after=None, retry_at=None)
    return retry_at(failure, _tries(failure, state.failures, state.unproved), now, rng)


def _failures(state: CertificateState) -> int:
    return state.failures if isinstance(state, Ordering | Waiting | Blocked | Dormant) else 0


def _unproved(state: CertificateState) -> int:
    return state.unproved if isinstance(state, Ordering | Waiting | Blocked | Dormant) else 0


def _dormant(state: CertificateState) -> Dormant | None:
    match state:
        case Dormant():
            return state
        case Ordering(dormant=dormant):
            return dormant
        case _:
            return None


def _last(state: CertificateState) -> Failure | None:
    """Return why the last order gave none, as far as it still matters."""
    match state:
        case Ordering(last=last):
            return last
        case Waiting(failures=failures, failure=failure, last=last):
            return last or (failure if failures or failure.may_be_dns else None)
        case Blocked(failure=failure) | Dormant(failure=failure):
            return failure
        case Missing() | Ready():
            return None
        case _:
            assert_never(state)


def _placed(state: CertificateState, learned: WindowLearned) -> CertificateState:
    match state:
        case Ready(planned=None):
            return replace(state, renew_at=learned.renew_at, window=learned.window)
        case Ready(renew_at=wished):  # it is as near as before, and the plan another
            at = learned.renew_at
            return replace(state, renew_at=min(wished, at), planned=at, window=learned.window)
        case _:
            return state


def _postponed(state: CertificateState, event: Postponed, now: datetime) -> CertificateState:
    failures, unproved, failure = _failures(state), _unproved(state), event.failure
    if event.ends_wish and isinstance(state, Ready) and state.planned is not None and state.planned > now:
        return replace(state, renew_at=state.planned, planned=None, refused=failure)
    if dormant := _dormant(state):  # only an order that succeeds, or a change of its names, wakes it
        return replace(dormant, probe_at=event.until, failures=failures, unproved=unproved)
    last = failure if event.was_sent else _last(state)
    return Waiting(retry_at=event.until, failures=failures, failure=failure, unproved=unproved, last=last)


def _tries(failure: Failure, failures: int, unproved: int) -> int:
    """Failed validations have a schedule of their own: a CA that was down costs the host nothing of it."""
    return unproved if failure.kind is FailureKind.VALIDATION else failures - unproved


def _failed(
    state: CertificateState, failure: Failure, now: datetime, rng: "random.Random", lifetime: timedelta | None
) -> CertificateState:
    failures = _failures(state) + 1
    unproved = _unproved(state) + (failure.kind is FailureKind.VALIDATION)
    again = retry_at(failure, _tries(failure, failures, unproved), now, rng, lifetime=lifetime)
    if dormant := _dormant(state):
        probe = max(again, now + _DORMANT_RETRY)
        told = failure if failure.may_be_dns else dormant.failure  # why it is dormant: trouble of the CA is not
        return replace(dormant, probe_at=probe, failures=failures, unproved=unproved, failure=told)
    if failure.kind in (FailureKind.HOST_REFUSED, FailureKind.PAUSED, FailureKind.ACCOUNT_REFUSED):
        return Blocked(probe_at=again, failures=failures, failure=failure, unproved=unproved)
    return Waiting(retry_at=again, failures=failures, failure=failure, unproved=unproved)


def _wished(state: CertificateState, at: datetime, *, is_extra: bool) -> CertificateState:
    match state:
        case Missing() | Ordering():
            return state
        case Ready(renew_at=due, planned=planned):
            plan = (planned or due) if is_extra else None
            return replace(state, renew_at=min(due, at), planned=plan, refused=None)
        case Waiting(retry_at=due):
            return replace(state, retry_at=min(due, at))
        case Blocked(failures=failures, failure=failure) | Dormant(failures=failures, failure=failure):
            return Waiting(retry_at=at, failures=failures, failure=failure, unproved=state.unproved)
        case _:
            assert_never(state)


def _left(state: CertificateState, now: datetime) -> CertificateState:
    match state:
        case Waiting(failures=failures, failure=failure) | Blocked(failures=failures, failure=failure):
            probe, unproved = now + _DORMANT_RETRY, state.unproved
            return Dormant(since=now, probe_at=probe, failures=failures, failure=failure, unproved=unproved)
        case Missing() | Ordering() | Ready() | Dormant():
            return state
        case _:
            assert_never(state)


def is_dormant(state: CertificateState) -> bool:
    """Return whether the name has left us, also while its one order of the week runs."""
    return _dormant(state) is not None


def waits_for_first(state: CertificateState) -> bool:
    """Return whether no order was sent yet."""
    return isinstance(state, Missing) or (isinstance(state, Waiting) and state.failures == 0)


def waits_for_us(state: CertificateState) -> bool:
    """Return whether the next order waits for a limit, or ceiling, that we count ourselves."""
    match state:
        case Waiting(failure=failure):
            return failure.kind is FailureKind.RATE_LIMITED and failure.problem is None
        case Missing() | Ordering() | Ready() | Blocked() | Dormant():
            return False


def waits_for_ca(state: CertificateState) -> bool:
    """Return whether the next order waits only until the CA works again, or takes our account again."""
    match state:
        case Waiting(failure=failure):  # ACCOUNT_REFUSED: not sent because another host's order was refused so
            return failure.kind in (FailureKind.CA, FailureKind.ACCOUNT_REFUSED)
        case Blocked(failure=failure):
            return failure.kind is FailureKind.ACCOUNT_REFUSED
        case Missing() | Ordering() | Ready() | Dormant():
            return False
