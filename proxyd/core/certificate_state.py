"""The life of one host's certificate as a state machine: one pure `step`, the due times inside the states."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from proxyd.core.backoff import LONGEST_WAIT, retry_at
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.renewal import RenewalWindow, ask_again_at

if TYPE_CHECKING:
    import random

#: A dormant host gets one order a week all the same.
_DORMANT_RETRY = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Missing:
    """No certificate, none under way: due at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """An order runs; `failures` in a row before it, `unproved` of them failed validations; `dormant`: it was before."""

    failures: int
    unproved: int = 0
    dormant: "Dormant | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A certificate serves; the next order is due at `renew_at`, the CA is asked for its window at `ask_ari_at`."""

    renew_at: datetime
    ask_ari_at: datetime | None = None
    window: RenewalWindow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The last order failed; the next one is due at `retry_at`. What served before keeps serving."""

    retry_at: datetime
    failures: int
    failure: Failure
    unproved: int = 0

    @property
    def reason(self) -> str:
        return self.failure.message


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
    ask_ari_at: datetime | None = None
    window: RenewalWindow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLearned:
    """The CA told its window (None: it has none, or none that makes sense) for the serving certificate."""

    renew_at: datetime
    ask_ari_at: datetime
    window: RenewalWindow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The order gave none. `lifetime`: of the certificate that serves meanwhile."""

    failure: Failure
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """The order was not sent: a limit has no room before `until`. Costs no failure."""

    failure: Failure
    until: datetime


@dataclass(frozen=True, slots=True)
class Wished:
    """Try now, or at `at`: a person said so, the configuration changed, or what failed looks mended."""

    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LeftUs:
    """The name has pointed elsewhere, failed and been unused for a week (core/dormancy.py)."""


Event = Started | Obtained | WindowLearned | Failed | Postponed | Wished | LeftUs


def step(state: CertificateState, event: Event, now: datetime, rng: "random.Random") -> CertificateState:
    """Return the state after `event`. Total: every event is meaningful in every state."""
    match event:
        case Started():
            dormant = state if isinstance(state, Dormant) else None
            return Ordering(failures=_failures(state), unproved=_unproved(state), dormant=dormant)
        case Obtained(renew_at=at, ask_ari_at=ask, window=window):
            return Ready(renew_at=at, ask_ari_at=ask, window=window)
        case WindowLearned(renew_at=at, ask_ari_at=ask, window=window):
            return Ready(renew_at=at, ask_ari_at=ask, window=window) if isinstance(state, Ready) else state
        case Failed(failure=failure, lifetime=lifetime):
            return _failed(state, failure, now, rng, lifetime)
        case Postponed(failure=failure, until=until):
            failures, unproved = _failures(state), _unproved(state)
            if dormant := _dormant(state):  # only an order that succeeds, or a change of its names, wakes it
                return replace(dormant, probe_at=until, failures=failures, unproved=unproved)
            return Waiting(retry_at=until, failures=failures, failure=failure, unproved=unproved)
        case Wished(at=at):
            return _wished(state, now if at is None else at)
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
        case Ready(ask_ari_at=at) if at is not None:
            return replace(state, ask_ari_at=min(at, ask_again_at(now, timedelta.max)))
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


def _wished(state: CertificateState, at: datetime) -> CertificateState:
    match state:
        case Missing() | Ordering():
            return state
        case Ready(renew_at=due, ask_ari_at=ask, window=window):
            return Ready(renew_at=min(due, at), ask_ari_at=ask, window=window)
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


def waits_for_first(state: CertificateState) -> bool:
    """Return whether no order was sent yet."""
    return isinstance(state, Missing) or (isinstance(state, Waiting) and state.failures == 0)


def waits_for_ca(state: CertificateState) -> bool:
    """Return whether the next order waits only until the CA works again, or takes our account again."""
    match state:
        case Waiting(failure=failure):  # ACCOUNT_REFUSED: not sent because another host's order was refused so
            return failure.kind in (FailureKind.CA, FailureKind.ACCOUNT_REFUSED)
        case Blocked(failure=failure):
            return failure.kind is FailureKind.ACCOUNT_REFUSED
        case Missing() | Ordering() | Ready() | Dormant():
            return False
