"""The life of one host's certificate as a state machine: one pure `step`, the due times inside the states."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, assert_never

from proxyd.core.backoff import next_delay
from proxyd.core.failure import Failure
from proxyd.core.renewal import renew_at

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Missing:
    """No certificate, none under way: due at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """An order runs; `failures` in a row before it."""

    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A certificate serves; the next order is due at `renew_at`."""

    renew_at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The last order failed; the next one is due at `retry_at`. What served before keeps serving."""

    retry_at: datetime
    failures: int
    reason: str


CertificateState = Missing | Ordering | Ready | Waiting


@dataclass(frozen=True, slots=True)
class Started:
    """An order was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A certificate is there: issued just now, or found in the store."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Failed:
    """The order gave none."""

    failure: Failure


Event = Started | Obtained | Failed


def step(state: CertificateState, event: Event, now: datetime, rng: "random.Random") -> CertificateState:
    """Return the state after `event`. Total: every event is meaningful in every state."""
    failures = state.failures if isinstance(state, Ordering | Waiting) else 0
    match event:
        case Started():
            return Ordering(failures=failures)
        case Obtained(not_before=not_before, not_after=not_after):
            return Ready(renew_at=renew_at(not_before, not_after), not_after=not_after)
        case Failed(failure=failure):
            delay = next_delay(failures + 1, failure.retry_after, rng)
            return Waiting(retry_at=now + delay, failures=failures + 1, reason=failure.message)
        case _:
            assert_never(event)


def due_at(state: CertificateState, now: datetime) -> datetime | None:
    """Return when the next order shall begin, or None while one runs."""
    match state:
        case Missing():
            return now
        case Ordering():
            return None
        case Ready(renew_at=at) | Waiting(retry_at=at):
            return at
        case _:
            assert_never(state)
