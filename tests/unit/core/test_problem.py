"""What a CA says, and to which class it belongs."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.failure import FailureKind, IssuanceError, classify, classify_proof
from proxyd.core.problem import Problem
from tests.support.strategies import damaged, json_values

PREFIX = "urn:ietf:params:acme:error:"
PAUSED = (
    "Your account is temporarily prevented from requesting certificates for a.example. Please visit: "
    "https://portal.letsencrypt.org/sfe/v1/unpause?jwt=abc.def to unpause."
)


@pytest.mark.parametrize(
    ("kind", "status", "wanted"),
    [
        ("caa", 403, FailureKind.VALIDATION),
        ("connection", 400, FailureKind.VALIDATION),
        ("dns", 400, FailureKind.VALIDATION),
        ("unauthorized", 403, FailureKind.VALIDATION),
        ("rateLimited", 429, FailureKind.RATE_LIMITED),
        ("none", 429, FailureKind.RATE_LIMITED),
        ("rejectedIdentifier", 400, FailureKind.HOST_REFUSED),
        ("unsupportedIdentifier", 400, FailureKind.HOST_REFUSED),
        ("invalidProfile", 400, FailureKind.HOST_REFUSED),
        ("userActionRequired", 403, FailureKind.ACCOUNT_REFUSED),
        ("externalAccountRequired", 401, FailureKind.ACCOUNT_REFUSED),
        ("serverInternal", 500, FailureKind.CA),
        ("unauthorized", 503, FailureKind.CA),
        ("malformed", 400, FailureKind.CA),
        ("somethingNew", 400, FailureKind.CA),
    ],
)
def test_each_problem_has_its_class(kind: str, status: int, wanted: FailureKind) -> None:
    assert classify(Problem.parse({"type": PREFIX + kind}, status=status)) is wanted


@pytest.mark.parametrize(
    ("kind", "status", "wanted"),
    [
        ("malformed", 400, FailureKind.VALIDATION),
        ("somethingNew", 0, FailureKind.VALIDATION),
        ("none", 0, FailureKind.VALIDATION),
        ("dns", 400, FailureKind.VALIDATION),
        ("serverInternal", 0, FailureKind.CA),
        ("malformed", 500, FailureKind.CA),
        ("rateLimited", 429, FailureKind.RATE_LIMITED),
        ("rejectedIdentifier", 400, FailureKind.HOST_REFUSED),
        ("userActionRequired", 403, FailureKind.ACCOUNT_REFUSED),
    ],
)
def test_what_a_challenge_says_concerns_the_name(kind: str, status: int, wanted: FailureKind) -> None:
    problem = Problem.parse({"type": PREFIX + kind}, status=status)
    assert classify_proof(problem) is wanted
    failure = IssuanceError(classify_proof(problem), "no", problem=problem).failure
    assert failure.may_be_dns is (wanted is FailureKind.VALIDATION)


def test_a_compound_problem_takes_the_class_of_its_gravest_part() -> None:
    parts = [{"type": PREFIX + "caa"}, {"type": PREFIX + "rejectedIdentifier"}]
    problem = Problem.parse({"type": PREFIX + "malformed", "subproblems": parts}, status=400)
    assert classify(problem) is FailureKind.HOST_REFUSED


def test_a_paused_name_has_its_unpause_link() -> None:
    problem = Problem.parse({"type": PREFIX + "rateLimited", "detail": PAUSED}, status=429)
    assert classify(problem) is FailureKind.PAUSED
    assert problem.unpause_url == "https://portal.letsencrypt.org/sfe/v1/unpause?jwt=abc.def"


@pytest.mark.parametrize(
    ("instance", "terms", "page"),
    [
        ("https://ca.example/agree?id=7", "https://ca.example/terms.pdf", "https://ca.example/agree?id=7"),
        (None, "https://ca.example/terms.pdf", "https://ca.example/terms.pdf"),
        ("javascript:alert(1)", None, None),
        ("https://ca.example/\x1b[31m", None, None),
        ("https://ca.example/" + "x" * 9999, None, None),
        (7, None, None),
    ],
)
def test_where_a_person_does_what_the_ca_wants(instance: object, terms: str | None, page: str | None) -> None:
    document = {"type": PREFIX + "userActionRequired", "instance": instance}
    assert Problem.parse(document, status=403, terms=terms).page == page


@pytest.mark.parametrize("text", ["retry after 2026-08-05 12:00:01 UTC: see", "retry after 2026-08-05T12:00:01Z: see"])
def test_the_time_in_the_text_is_understood(text: str) -> None:
    problem = Problem.parse({"type": PREFIX + "rateLimited", "detail": f"too many: {text}"}, status=429)
    wanted = datetime(2026, 8, 5, 12, 0, 1, tzinfo=UTC)
    assert problem.retry_at == wanted
    assert IssuanceError(FailureKind.RATE_LIMITED, "no", problem=problem).failure.retry_at == wanted


def test_hostile_nesting_and_control_characters_are_harmless() -> None:
    document: dict[str, object] = {"type": "a\x1b[31m\n", "detail": "b\r\nc"}
    for _ in range(5000):
        document = {"subproblems": [document]}
    assert str(Problem.parse(document, status=400)).isprintable()
    assert str(Problem.parse({"detail": "b\r\nc\x1b"}, status=400)).isprintable()


TOLD = {
    "type": "urn:ietf:params:acme:error:rateLimited",
    "detail": "too many: retry after 2027-01-02 00:00:00 UTC",
    "status": 429,
    "identifier": {"type": "dns", "value": "a.example"},
    "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "detail": "no", "identifier": {"value": "b.example"}}],
}


@given(damaged(TOLD) | json_values, st.integers(0, 999))
def test_whatever_a_ca_says_is_one_bounded_line_and_has_a_class(document: object, status: int) -> None:
    problem = Problem.parse(document, status=status)
    assert str(problem).isprintable()
    assert len(str(problem)) <= 2501
    assert classify(problem) in FailureKind
    assert problem.retry_at is None or problem.retry_at.tzinfo is not None


def test_a_refused_connection_is_one_whatever_the_ca_calls_it() -> None:
    refused = Problem(
        kind="unauthorized", detail="Failed to connect to a.example.com:443 for the challenge", status=403
    )
    assert refused.reason == "connection"
    assert Problem(kind="unauthorized", detail="Incorrect validation certificate", status=403).reason == "unauthorized"
    assert Problem(kind="dns", detail="connection refused", status=400).reason == "dns"


@pytest.mark.parametrize(
    ("detail", "limit", "limited"),
    [
        ('too many certificates (50) already issued for "Example.com" in the last 168h0m0s', "domain", ["example.com"]),
        ('too many failed authorizations (5) for "a.example" in the last 1h0m0s', "failures", ["a.example"]),
        ("too many certificates (5) already issued for this exact set of identifiers", "duplicates", []),
        ('too many requests for "a.example"', None, []),
    ],
)
def test_a_limit_is_of_those_whom_the_ca_names(detail: str, limit: str | None, limited: list[str]) -> None:
    problem = Problem.parse({"type": PREFIX + "rateLimited", "detail": f"{detail}, retry after …"}, status=429)
    failure = IssuanceError(FailureKind.RATE_LIMITED, "x", problem=problem).failure
    assert (failure.limit, list(failure.limited)) == (limit, limited)


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        (f"Invalid response from http://a.example/.well-known/acme-challenge/{'t' * 43}: 404", "acme-challenge/…: 404"),
        (f"/acme-challenge/{'t' * 22} [192.0.2.1]: refused", "acme-challenge/… [192.0.2.1]: refused"),
        (f'did not match this challenge "{"t" * 43}.{"k" * 43}" (got "no")', 'this challenge "…" (got "no")'),
        (f'"{"t" * 22}.{"k" * 43}"', '"…"'),
    ],
)
def test_tokens_are_left_out(detail: str, shown: str) -> None:
    found = Problem.parse({"type": PREFIX + "unauthorized", "detail": detail}, status=403).detail
    assert found.endswith(shown)
    assert "ttt" not in found


@pytest.mark.parametrize(
    "detail",
    [
        f"visit https://a.example/unpause?jwt={'h' * 36}.{'p' * 200}.{'s' * 43}",
        f"visit https://a.example/unpause?jwt={'h' * 43}.{'p' * 43}.{'s' * 43} now",
        f"{'a' * 30}.{'b' * 43}.example.com has no address",
    ],
)
def test_links_and_names_are_not_taken_for_tokens(detail: str) -> None:
    assert Problem.parse({"type": PREFIX + "dns", "detail": detail}, status=403).detail == detail
