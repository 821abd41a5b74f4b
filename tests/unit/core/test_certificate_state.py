"""The state machine: every event in every state; failures are not forgotten."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.backoff import LONGEST_WAIT
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
    settled,
    step,
)
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.state_document import read_failed, read_window, to_document
from tests.support.strategies import damaged, failures

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
    WindowLearned(renew_at=NOW, window=None),
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
    postponed = step(Ordering(failures=2, unproved=2), Postponed(failure(), NOW + HOUR), NOW, rng)
    assert due_at(postponed, NOW) == NOW + HOUR
    assert isinstance(postponed, Waiting)
    assert (postponed.failures, postponed.unproved) == (2, 2)


def waits_of(*kinds: FailureKind) -> list[float]:
    """Return the minutes that are waited after failures of these kinds in a row."""
    state: CertificateState = Missing()
    rng, waits = random.Random(1), []
    for kind in kinds:
        state = step(step(state, Started(), NOW, rng), Failed(failure=failure(kind)), NOW, rng)
        at = due_at(state, NOW)
        assert at is not None
        waits.append((at - NOW).total_seconds() / 60)
    return waits


def test_trouble_of_the_ca_or_the_disk_costs_no_wait_of_failed_validations() -> None:
    ca, local, no = FailureKind.CA, FailureKind.LOCAL, FailureKind.VALIDATION
    waits = waits_of(ca, ca, ca, ca, local, no, ca, no, local, no)
    for place, wanted in ((0, 1), (1, 10), (2, 60), (3, 60), (5, 1), (7, 10), (9, 100)):
        assert wanted * 0.9 <= waits[place] <= wanted * 1.1


def test_a_limit_without_a_time_is_asked_less_and_less_often() -> None:
    waits = waits_of(*[FailureKind.RATE_LIMITED] * 4)
    for waited, wanted in zip(waits, (1, 10, 60, 60), strict=True):
        assert wanted * 0.9 <= waited <= wanted * 1.1


@pytest.mark.parametrize(
    "kind", [FailureKind.CA, FailureKind.LOCAL, FailureKind.RATE_LIMITED], ids=lambda one: one.name
)
def test_a_dormant_host_stays_dormant_and_its_dns_watched_when_the_ca_has_trouble(kind: FailureKind) -> None:
    rng = random.Random(1)
    dormant = step(STATES[3], LeftUs(), NOW, rng)
    assert isinstance(dormant, Dormant)
    for state in (dormant, step(dormant, Started(), NOW, rng)):
        for event in (Failed(failure=failure(kind)), Postponed(failure(kind), NOW + HOUR)):
            after = step(state, event, NOW, rng)
            assert isinstance(after, Dormant)
            assert after.since == dormant.since
            assert after.failure == dormant.failure
            assert after.probe_at > NOW


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


WEEK = timedelta(days=7)
SOON = st.timedeltas(timedelta(0), WEEK).map(lambda span: NOW + span)
ANY = st.timedeltas(timedelta(days=-4000), timedelta(days=4000)).map(lambda span: NOW + span)


def states(times: st.SearchStrategy[datetime]) -> st.SearchStrategy[CertificateState]:
    counts, few = st.integers(100, 10_000), st.integers(0, 100)
    dormant = st.builds(Dormant, since=times, probe_at=times, failures=counts, unproved=few, failure=failures)
    return st.one_of(
        st.just(Missing()),
        st.builds(Ordering, failures=counts, unproved=few, dormant=st.none() | dormant),
        st.builds(Ready, renew_at=times, window=st.none(), planned=st.none() | times),
        st.builds(Waiting, retry_at=times, failures=counts, unproved=few, failure=failures),
        st.builds(Blocked, probe_at=times, failures=counts, unproved=few, failure=failures),
        dormant,
    )


def failures_of(state: CertificateState) -> int:
    return 0 if isinstance(state, Missing | Ready) else state.failures


def unproved_of(state: CertificateState) -> int:
    return 0 if isinstance(state, Missing | Ready) else state.unproved


events: st.SearchStrategy[Event] = st.one_of(
    st.just(Started()),
    st.builds(Obtained, renew_at=ANY, window=st.none()),
    st.builds(WindowLearned, renew_at=ANY, window=st.none()),
    st.builds(Failed, failure=failures, lifetime=st.none() | st.timedeltas(HOUR, timedelta(days=400))),
    st.builds(Postponed, failures, SOON),
    st.builds(Wished, st.none() | SOON),
    st.just(LeftUs()),
)


@given(states(ANY), events, st.integers(0, 9))
def test_what_an_event_may_do(state: CertificateState, event: Event, seed: int) -> None:
    after = step(state, event, NOW, random.Random(seed))
    due = due_at(after, NOW)
    match event:
        case Obtained(renew_at=at):
            assert (failures_of(after), due) == (0, at)
        case Failed(failure=failure):
            assert due is not None
            assert NOW < due <= NOW + LONGEST_WAIT
            assert failures_of(after) == failures_of(state) + 1
            assert unproved_of(after) == unproved_of(state) + (failure.kind is FailureKind.VALIDATION)
        case Postponed(until=until):
            assert (failures_of(after), due) == (failures_of(state), until)
        case Wished(at=at):
            assert failures_of(after) == failures_of(state)
            assert isinstance(after, Ordering) or (due is not None and due <= (at or NOW))
        case Started() | WindowLearned() | LeftUs():
            assert failures_of(after) == failures_of(state)
    if isinstance(state, Ordering) and not isinstance(event, Obtained | Failed | Postponed | Started):
        assert after == state  # one order at a time


@given(states(ANY), st.integers(0, 9))
def test_after_a_wrong_clock_nothing_waits_for_longer_than_anything_may(state: CertificateState, seed: int) -> None:
    rng = random.Random(seed)
    after = settled(state, NOW, rng)
    due = due_at(after, NOW)
    assert isinstance(after, Ordering | Ready) or (due is not None and due <= NOW + LONGEST_WAIT)
    assert settled(after, NOW, rng) == after
    assert failures_of(after) == failures_of(state)


@given(states(SOON), st.integers(0, 9))
def test_a_right_clock_leaves_every_wait_as_it_is(state: CertificateState, seed: int) -> None:
    assert due_at(settled(state, NOW, random.Random(seed)), NOW) == due_at(state, NOW)


@given(states(ANY))
def test_what_is_kept_is_read_again(state: CertificateState) -> None:
    kept = json.loads(json.dumps(to_document(state)))
    found = read_failed(kept)
    if isinstance(state, Waiting | Blocked | Dormant):
        lasting = replace(state.failure, retry_after=None, retry_at=None)
        assert found == replace(state, failure=lasting)
    else:
        assert found is None


@given(states(ANY).map(to_document).flatmap(damaged))
def test_a_damaged_document_is_a_state_or_nothing(document: dict[str, object]) -> None:
    found = read_failed(document)
    assert found is None or found == read_failed(to_document(found))
    read_window(document)
