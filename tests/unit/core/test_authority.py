"""Why a CA that is in trouble is not asked, in the words of the host that waits."""

from datetime import UTC, datetime, timedelta

import pytest

from proxyd.core.authority import Authority
from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname

NOW = datetime(2027, 1, 1, tzinfo=UTC)
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
