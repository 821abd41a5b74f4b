"""Why a CA that is in trouble is not asked, in the words of the host that waits."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.core.authority import Authority
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.core.rate_ledger import LETS_ENCRYPT
from tests.support.strategies import damaged, json_values

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CA = "https://ca.one.example/dir"


def order(*names: str) -> CertificateOrder:
    hosts = tuple(Hostname(name) for name in names)
    return CertificateOrder(host=hosts[0], names=hosts, key_kind="p256")


def failure(kind: FailureKind, message: str, cause: str) -> Failure:
    return Failure(kind=kind, message=message, cause=cause, addresses=("192.0.2.1",), challenge="http-01")


@pytest.fixture
def authority() -> Authority:
    return Authority(CA, None, registered_domain=lambda name: name.text)


def test_a_ca_that_is_down_is_said_to_each_host_without_the_name_of_another(authority: Authority) -> None:
    cause = "the CA https://ca.one.example/dir refused /new-order: serverInternal (HTTP 500)"
    said = f"one.example: {cause}: Error creating new order for WWW.one.example. (one.example)"
    for failing in (order("two.example"), order("two.example"), order("one.example", "www.one.example")):
        authority.failed(failing, failure(FailureKind.CA, said, cause), NOW)
    refused = authority.refusal(order("three.example"), NOW)
    assert refused is not None
    told, until = refused
    assert told.message == f"three.example: not asked of {CA}: {cause}"
    assert told.kind is FailureKind.CA
    assert (told.addresses, told.challenge) == ((), None)
    assert until == NOW + timedelta(minutes=1)
    own = authority.refusal(order("one.example", "www.one.example"), NOW)
    assert own is not None
    assert own[0].message == said


def test_an_account_that_is_refused_is_said_to_each_host_without_the_name_of_another(authority: Authority) -> None:
    cause = "externalAccountRequired; set acme.eab to the kid and hmac_key that the CA gave you"
    refusal = failure(FailureKind.ACCOUNT_REFUSED, f"one.example: {cause}", cause)
    authority.failed(order("one.example"), refusal, NOW)
    refused = authority.refusal(order("two.example"), NOW)
    assert refused is not None
    assert refused[0].message == f"two.example: not asked of {CA}: {cause}"


def restarted(authority: Authority, now: datetime) -> Authority:
    again = Authority(CA, None, registered_domain=lambda name: name.text)
    again.read_document(json.loads(json.dumps(authority.to_document(now))), now)
    return again


def test_a_refused_account_is_probed_once_an_hour_whatever_restarts(authority: Authority) -> None:
    authority.ask_as("options")
    refusal = failure(FailureKind.ACCOUNT_REFUSED, "one.example: userActionRequired: x", "userActionRequired")
    authority.failed(order("one.example"), refusal, NOW)
    for minutes in (0, 20, 59):
        now = NOW + timedelta(minutes=minutes)
        authority = restarted(authority, now)
        authority.ask_as("options")
        refused = authority.refusal(order("two.example"), now)
        assert refused is not None
        assert (refused[0].kind, refused[1]) == (FailureKind.ACCOUNT_REFUSED, NOW + HOUR)
        assert refused[0].message == f"two.example: not asked of {CA}: userActionRequired"
    authority = restarted(authority, NOW + HOUR)
    assert authority.refusal(order("two.example"), NOW + HOUR) is None
    authority.started(order("two.example"), NOW + HOUR)
    authority = restarted(authority, NOW + HOUR)  # killed in the middle of the probe
    refused = authority.refusal(order("three.example"), NOW + HOUR)
    assert refused is not None
    assert refused[1] == NOW + 2 * HOUR
    assert authority.succeeded(order("two.example"), NOW + HOUR)
    assert restarted(authority, NOW + HOUR).refusal(order("three.example"), NOW + HOUR) is None


@pytest.mark.parametrize("when", ["asked first", "read first"])
def test_a_refusal_of_an_account_that_is_another_now_is_over(authority: Authority, when: str) -> None:
    authority.ask_as("without eab")
    authority.failed(order("one.example"), failure(FailureKind.ACCOUNT_REFUSED, "one.example: no", "no"), NOW)
    again = Authority(CA, None, registered_domain=lambda name: name.text)
    if when == "asked first":
        again.ask_as("with eab")
    again.read_document(authority.to_document(NOW), NOW)
    again.ask_as("with eab")
    assert again.refusal(order("one.example"), NOW) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"probe_at": "2999-01-01T00:00:00+00:00"},
        {"probe_at": "soon"},
        {"failure": {"kind": "ca", "message": ""}},
        {"failure": []},
        {"names": [7, "\0"]},
        {"asked_as": None},
    ],
)
def test_a_broken_refusal_blocks_nothing_for_long(authority: Authority, broken: dict[str, object]) -> None:
    authority.ask_as("options")
    authority.failed(order("one.example"), failure(FailureKind.ACCOUNT_REFUSED, "one.example: no", "no"), NOW)
    document = authority.to_document(NOW)
    again = Authority(CA, None, registered_domain=lambda name: name.text)
    again.read_document({**document, "refused": {**document["refused"], **broken}}, NOW)  # type: ignore[dict-item]
    assert again.refusal(order("one.example"), NOW + HOUR) is None


def full_document() -> dict[str, Any]:
    known = Authority(CA, LETS_ENCRYPT, registered_domain=lambda name: name.text)
    known.ask_as("me")
    known.has_ari = True
    known.started(order("one.example"), NOW)
    known.succeeded(order("one.example"), NOW)
    known.failed(
        order("two.example"), failure(FailureKind.ACCOUNT_REFUSED, "two.example: set acme.eab", "set acme.eab"), NOW
    )
    document: dict[str, Any] = json.loads(json.dumps(known.to_document(NOW)))
    return document


@given(damaged(full_document()) | st.dictionaries(st.text(max_size=9), json_values, max_size=4))
def test_no_document_stops_a_ca(document: dict[str, Any]) -> None:
    authority = Authority(CA, LETS_ENCRYPT, registered_domain=lambda name: name.text)
    authority.read_document(document, NOW)
    for one in (order("one.example"), order("two.example")):
        refused = authority.refusal(one, NOW)
        assert refused is None or NOW < refused[1] <= NOW + timedelta(days=7)
        assert all(NOW - timedelta(days=7) < at <= NOW + HOUR for at in authority.history(one))
    again = Authority(CA, LETS_ENCRYPT, registered_domain=lambda name: name.text)
    again.read_document(json.loads(json.dumps(authority.to_document(NOW))), NOW)
    for one in (order("one.example"), order("two.example")):
        assert again.history(one) == authority.history(one)
        assert again.refusal(one, NOW) == authority.refusal(one, NOW)
    authority.settle(NOW)
    authority.started(order("one.example"), NOW)


def test_what_is_kept_is_read_again() -> None:
    again = Authority(CA, LETS_ENCRYPT, registered_domain=lambda name: name.text)
    again.read_document(full_document(), NOW)
    assert again.history(order("one.example")) == [NOW]
    assert again.has_ari
    assert again.to_document(NOW) == full_document()


_deeds = st.lists(
    st.tuples(st.sampled_from(["start", "succeed", "fail", "limit", "take back", "settle", "keep"]), st.integers(0, 3)),
    max_size=30,
)


@given(_deeds)
def test_changes_one_after_the_other_make_the_document(deeds: list[tuple[str, int]]) -> None:
    authority, now = Authority(CA, LETS_ENCRYPT, registered_domain=lambda name: name.text), NOW
    kept: dict[str, dict[str, Any]] = {"ledger": {}, "issued": {}}
    for deed, number in [*deeds, ("keep", 0)]:
        one = order(f"{number}.example")
        now += HOUR
        match deed:
            case "start":
                authority.started(one, now)
            case "succeed":
                authority.succeeded(one, now)
            case "fail":
                authority.failed(one, failure(FailureKind.VALIDATION, "no", "no"), now)
            case "limit":
                limited = Failure(kind=FailureKind.RATE_LIMITED, message="no", problem="rateLimited", limit="domain")
                authority.failed(one, limited, now)
            case "take back":
                authority.not_sent(one)
            case "settle":
                authority.settle(now - number * HOUR)
            case _:
                changes = authority.changes(now)
                for part, values in kept.items():
                    values.update(changes[part])
    whole = authority.to_document(now)
    assert {key: at for key, at in kept["ledger"].items() if at and at > now.isoformat()} == whole["ledger"]
    assert {key: times for key, times in kept["issued"].items() if times} == whole["issued"]


def test_a_trouble_of_this_machine_says_nothing_about_the_ca(authority: Authority) -> None:
    authority.failed(order("one.example"), failure(FailureKind.ACCOUNT_REFUSED, "one.example: no", "no"), NOW)
    probe = NOW + HOUR
    authority.started(order("two.example"), probe)
    assert not authority.failed(order("two.example"), failure(FailureKind.LOCAL, "disk full", ""), probe)
    refused = authority.refusal(order("three.example"), probe)
    assert refused is not None
    assert (refused[0].kind, refused[1]) == (FailureKind.ACCOUNT_REFUSED, probe + HOUR)


def test_limits_that_are_taken_away_and_set_again_give_nothing_back() -> None:
    authority = Authority(CA, LETS_ENCRYPT, registered_domain=lambda name: name.text)
    for _ in range(5):
        authority.started(order("one.example"), NOW)
    before = authority.refusal(order("one.example"), NOW)
    assert before is not None
    assert authority.allow(None, NOW)
    assert authority.refusal(order("one.example"), NOW) is None
    assert authority.allow(LETS_ENCRYPT, NOW)
    assert authority.refusal(order("one.example"), NOW) == before
