"""The state machine: every event in every state; failures are not forgotten."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.certificate_state import (
    Blocked,
    CertificateState,
    Dormant,
    Event,
    Failed,
    LeftUs,
    Missing,
    Obtained,
    Ordering,
    Postponed,
    Ready,
    Started,
    Waiting,
    WindowLearned,
    Wished,
    due_at,
    step,
)
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.state_document import read_failed, to_document

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def failure(kind: FailureKind = FailureKind.VALIDATION) -> Failure:
    return Failure(kind=kind, message="a.example: no")


STATES: list[CertificateState] = [
    Missing(),
    Ordering(failures=2),
    Ready(renew_at=NOW),
    Waiting(retry_at=NOW, failures=2, failure=failure()),
    Blocked(probe_at=NOW, failures=2, failure=failure()),
    Dormant(since=NOW, probe_at=NOW, failures=2, failure=failure()),
]
EVENTS: list[Event] = [
    Started(),
    Obtained(renew_at=NOW),
    WindowLearned(renew_at=NOW, ask_ari_at=NOW, window=None),
    *(Failed(failure=failure(kind)) for kind in FailureKind),
    Postponed(failure(), NOW),
    Wished(),
    LeftUs(),
]


@given(st.sampled_from(STATES), st.lists(st.sampled_from(EVENTS), max_size=12), st.integers(0, 9))
def test_every_event_is_meaningful_in_every_state(state: CertificateState, events: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    for event in events:
        state = step(state, event, NOW, rng)
        due = due_at(state, NOW)
        assert due is None if isinstance(state, Ordering) else due is not None


def test_failed_validations_wait_1_10_100_minutes_then_a_day() -> None:
    state: CertificateState = Missing()
    rng, waits = random.Random(1), []
    for _ in range(5):
        state = step(step(state, Started(), NOW, rng), Failed(failure=failure()), NOW, rng)
        waits.append(due_at(state, NOW))
    minutes = [(at - NOW).total_seconds() / 60 for at in waits if at is not None]
    for waited, wanted in zip(minutes, (1, 10, 100, 1440, 1440), strict=True):
        assert wanted * 0.9 <= waited <= wanted * 1.1


def test_a_full_bucket_is_no_failure_of_the_host() -> None:
    rng = random.Random(1)
    state = step(Ordering(failures=2), Failed(failure=failure(FailureKind.RATE_LIMITED)), NOW, rng)
    assert isinstance(state, Waiting)
    assert state.failures == 2
    postponed = step(state, Postponed(failure(), NOW + HOUR), NOW, rng)
    assert due_at(postponed, NOW) == NOW + HOUR
    assert isinstance(postponed, Waiting)
    assert postponed.failures == 2


@pytest.mark.parametrize(
    "kind", [FailureKind.HOST_REFUSED, FailureKind.PAUSED, FailureKind.ACCOUNT_REFUSED], ids=lambda kind: kind.name
)
def test_permanent_errors_block_until_the_probe_or_a_wish(kind: FailureKind) -> None:
    rng = random.Random(1)
    state = step(Ordering(failures=0), Failed(failure=failure(kind)), NOW, rng)
    assert isinstance(state, Blocked)
    assert state.probe_at > NOW + HOUR * 0.89
    assert due_at(step(state, Wished(), NOW, rng), NOW) == NOW


def test_a_dormant_host_is_asked_for_weekly_and_wakes_by_itself() -> None:
    rng = random.Random(1)
    state = step(STATES[3], LeftUs(), NOW, rng)
    assert due_at(state, NOW) == NOW + timedelta(days=7)
    again = step(step(state, Started(), NOW, rng), Failed(failure=failure()), NOW, rng)
    assert isinstance(again, Dormant)
    assert again.probe_at >= NOW + timedelta(days=7)
    assert isinstance(step(again, Obtained(renew_at=NOW), NOW, rng), Ready)
    assert due_at(step(again, Wished(), NOW, rng), NOW) == NOW


@pytest.mark.parametrize("state", STATES[3:], ids=lambda state: type(state).__name__)
def test_a_restart_wins_no_retry(state: CertificateState) -> None:
    assert read_failed(to_document(state)) == state


@given(st.dictionaries(st.sampled_from(["state", "at", "failures", "failure", "since"]), st.text() | st.integers()))
def test_a_broken_document_reads_as_nothing(document: dict[str, object]) -> None:
    assert read_failed(document) is None
