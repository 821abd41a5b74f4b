import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.backoff import next_delay
from proxyd.core.certificate_state import Failed, Missing, Obtained, Ordering, Ready, Started, Waiting, due_at, step
from proxyd.core.failure import Failure, FailureKind, classify
from proxyd.core.problem import Problem
from proxyd.core.renewal import renew_at
from proxyd.core.retry_after import parse_retry_after

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FAILED = Failed(Failure(kind=FailureKind.VALIDATION, message="no"))


@pytest.mark.parametrize(("failures", "minutes"), [(1, 1), (2, 10), (3, 100), (4, 1440), (5, 1440), (1000, 1440)])
def test_schedule(failures: int, minutes: int) -> None:
    for seed in range(50):
        delay = next_delay(failures, None, random.Random(seed)) / timedelta(minutes=1)
        assert 0.9 * minutes <= delay <= 1.1 * minutes


@given(st.integers(-5, 10**6), st.timedeltas(timedelta(0), timedelta(days=400)), st.integers())
def test_the_ca_is_obeyed_within_reason(failures: int, asked: timedelta, seed: int) -> None:
    delay = next_delay(failures, asked, random.Random(seed))
    assert min(asked, timedelta(days=7)) <= delay <= timedelta(days=7)


@pytest.mark.parametrize(
    ("lifetime", "left"),
    [
        (timedelta(days=90), timedelta(days=30)),
        (timedelta(days=6), timedelta(days=3)),
        (timedelta(seconds=10), timedelta(seconds=5)),
    ],
)
def test_renewal_is_due_with_a_third_or_half_left(lifetime: timedelta, left: timedelta) -> None:
    assert renew_at(NOW, NOW + lifetime) == NOW + lifetime - left


def test_a_life() -> None:
    rng = random.Random(1)
    state = step(Missing(), Started(), NOW, rng)
    assert (state, due_at(state, NOW)) == (Ordering(failures=0), None)
    state = step(state, FAILED, NOW, rng)
    assert isinstance(state, Waiting)
    assert (state.failures, due_at(state, NOW)) == (1, state.retry_at)
    state = step(step(state, Started(), NOW, rng), FAILED, NOW, rng)
    assert isinstance(state, Waiting)
    assert state.failures == 2
    state = step(
        step(state, Started(), NOW, rng), Obtained(not_before=NOW, not_after=NOW + timedelta(days=90)), NOW, rng
    )
    assert state == Ready(renew_at=NOW + timedelta(days=60), not_after=NOW + timedelta(days=90))
    state = step(step(state, Started(), NOW, rng), FAILED, NOW, rng)
    assert isinstance(state, Waiting)
    assert state.failures == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Fri, 01 Jan 2027 00:01:00 GMT", 60),
        ("Fri, 01 Jan 2027 00:01:00 -0000", 60),
        ("Thu, 31 Dec 2026 00:01:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    assert parse_retry_after(value, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("document", "status", "kind"),
    [
        ({"type": "urn:ietf:params:acme:error:rateLimited"}, 429, FailureKind.RATE_LIMITED),
        ({"type": "urn:ietf:params:acme:error:serverInternal"}, 500, FailureKind.CA),
        ({"type": "urn:ietf:params:acme:error:connection"}, 403, FailureKind.VALIDATION),
        ({"type": "urn:ietf:params:acme:error:rejectedIdentifier"}, 403, FailureKind.PERMANENT),
        (
            {"type": "urn:ietf:params:acme:error:malformed", "subproblems": [{"type": "caa"}]},
            403,
            FailureKind.VALIDATION,
        ),
        ("<html>", 502, FailureKind.CA),
        (None, 403, FailureKind.CA),
    ],
)
def test_classes(document: object, status: int, kind: FailureKind) -> None:
    assert classify(Problem.parse(document, status=status)) is kind


def test_a_problem_cannot_forge_lines() -> None:
    problem = Problem.parse({"type": "x\n", "detail": "a\nb\x1b[31m" + "c" * 9999}, status=400)
    assert str(problem).isprintable()
    assert len(str(problem)) < 2100
