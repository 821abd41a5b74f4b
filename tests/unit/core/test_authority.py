"""Why a CA that is in trouble is not asked, in the words of the host that waits."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from proxyd.core.authority import Authority
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CA = "https://ca.one.example/dir"


def order(*names: str) -> CertificateOrder:
    hosts = tuple(Hostname(name) for name in names)
    return CertificateOrder(host=hosts[0], names=hosts, key_kind="p256")


def failure(kind: FailureKind, message: str) -> Failure:
    return Failure(kind=kind, message=message, addresses=("192.0.2.1",), challenge="http-01")


@pytest.fixture
def authority() -> Authority:
    return Authority(CA, None, registered_domain=lambda name: name.text)


def test_a_ca_that_is_down_is_said_to_each_host_without_the_name_of_another(authority: Authority) -> None:
    said = "one.example: the CA https://ca.one.example/dir: Error creating new order for WWW.one.example. (one.example)"
    for failing in (order("two.example"), order("two.example"), order("one.example", "www.one.example")):
        authority.failed(failing, failure(FailureKind.CA, said), NOW)
    refused = authority.refusal(order("three.example"), NOW)
    assert refused is not None
    told, until = refused
    assert told.message == (
        f"three.example: not asked of {CA}: the CA https://ca.one.example/dir: "
        "Error creating new order for another host. (another host)"
    )
    assert told.kind is FailureKind.CA
    assert (told.addresses, told.challenge) == ((), None)
    assert until == NOW + timedelta(minutes=1)
    own = authority.refusal(order("one.example", "www.one.example"), NOW)
    assert own is not None
    assert own[0].message == said


def test_an_account_that_is_refused_is_said_to_each_host_without_the_name_of_another(authority: Authority) -> None:
    said = "one.example: externalAccountRequired; set acme.eab to the kid and hmac_key that the CA gave you"
    authority.failed(order("one.example"), failure(FailureKind.ACCOUNT_REFUSED, said), NOW)
    refused = authority.refusal(order("two.example"), NOW)
    assert refused is not None
    assert "one.example:" not in refused[0].message
    assert refused[0].message.startswith("two.example: ")
    assert refused[0].message.endswith(said.removeprefix("one.example: "))


def restarted(authority: Authority, now: datetime) -> Authority:
    again = Authority(CA, None, registered_domain=lambda name: name.text)
    again.read_document(json.loads(json.dumps(authority.to_document(now))), now)
    return again


def test_a_refused_account_is_probed_once_an_hour_whatever_restarts(authority: Authority) -> None:
    authority.asked_as("options")
    said = "one.example: userActionRequired"
    authority.failed(order("one.example"), failure(FailureKind.ACCOUNT_REFUSED, said), NOW)
    for minutes in (0, 20, 59):
        now = NOW + timedelta(minutes=minutes)
        authority = restarted(authority, now)
        authority.asked_as("options")
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
    authority.asked_as("without eab")
    authority.failed(order("one.example"), failure(FailureKind.ACCOUNT_REFUSED, "no"), NOW)
    again = Authority(CA, None, registered_domain=lambda name: name.text)
    if when == "asked first":
        again.asked_as("with eab")
    again.read_document(authority.to_document(NOW), NOW)
    again.asked_as("with eab")
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
    authority.asked_as("options")
    authority.failed(order("one.example"), failure(FailureKind.ACCOUNT_REFUSED, "no"), NOW)
    document = authority.to_document(NOW)
    again = Authority(CA, None, registered_domain=lambda name: name.text)
    again.read_document({**document, "refused": {**document["refused"], **broken}}, NOW)  # type: ignore[dict-item]
    assert again.refusal(order("one.example"), NOW + HOUR) is None
