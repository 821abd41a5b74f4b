"""Certificates and renewal windows of a hostile or broken CA."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pebble.server import free_port
from proxyd.core.failure import FailureKind
from tests.support import fake_ca_authority as authority
from tests.support.damaged_certificates import FIELDS, negative, replaced
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.issuance import Client

HOST = "one.example.test"


@pytest.fixture
def http_port() -> int:
    return free_port()


@pytest.fixture
def ca(tmp_path: Path, http_port: int) -> Iterator[FakeCa]:
    with FakeCa(tmp_path / "ca", http_port=http_port) as one:
        yield one


@pytest.fixture
def client(ca: FakeCa, tmp_path: Path, http_port: int) -> Client:
    return Client(ca, tmp_path / "cache", http_port=http_port, order_seconds=3.0, request_seconds=2.0)


def _wrong(how: str) -> Callable[[Answer], Answer]:
    """Return a script that swaps the certificate for another one."""
    other = authority.authority("Other Root")
    now = datetime.now(UTC).replace(microsecond=0)

    def swap(answer: Answer) -> Answer:
        real, *rest = x509.load_pem_x509_certificates(answer.body or b"")
        key: Any = real.public_key()
        names = real.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        begin, end = now, now + timedelta(days=1)
        if how == "names":
            names = x509.SubjectAlternativeName([x509.DNSName("victim.example")])
        elif how == "more names":
            names = x509.SubjectAlternativeName([*names, x509.DNSName("victim.example")])
        elif how == "fewer names":
            names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
        elif how == "key":
            key = ec.generate_private_key(ec.SECP256R1()).public_key()
        elif how == "expired":
            begin, end = now - timedelta(days=2), now - timedelta(days=1)
        elif how == "future":
            begin, end = now + timedelta(days=2), now + timedelta(days=3)
        elif how == "no life":
            begin = end = now
        made = authority.leaf(key, names, other, not_before=begin, not_after=end)
        answer.body = authority.pem(made, *rest).encode()
        return answer

    return swap


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("names", "for victim.example"),
        ("more names", f"for {HOST}, victim.example"),
        ("fewer names", f"for {HOST}"),
        ("key", "the key does not belong to the certificate"),
        ("expired", "not valid now"),
        ("future", "not valid now"),
        ("no life", "not valid now"),
        ("signer", "its part 2 did not sign part 1"),
    ],
)
async def test_a_wrong_certificate_never_gets_in(ca: FakeCa, client: Client, how: str, why: str) -> None:
    ca.script["certificate"] = _wrong(how)
    async with client:
        error = await client.failure(HOST, *(["two.example.test"] if how == "fewer names" else []))
        assert error.failure.kind is FailureKind.CA
        assert error.is_issued  # and counted by the CA
        assert "sent a certificate" in str(error)
        assert why in str(error)
        assert client.orders.all() == []  # the same order would give the same again


@pytest.mark.parametrize("field", [*FIELDS, "serial"])
async def test_a_certificate_that_no_library_reads_is_an_answer_of_the_ca(
    ca: FakeCa, client: Client, field: str
) -> None:
    def damage(answer: Answer) -> Answer:
        chain = answer.body or b""
        if field == "serial":
            answer.body = negative(chain, x509.load_pem_x509_certificates(chain)[0].serial_number)
        else:
            answer.body = replaced(chain, field)
        return answer

    ca.script["certificate"] = damage
    async with client:
        error = await client.failure(HOST)
        assert error.failure.kind is FailureKind.CA
        assert "sent a certificate that is none" in str(error)
        assert client.orders.all() == []


async def test_an_issuer_that_no_library_reads_is_a_broken_chain(ca: FakeCa, client: Client) -> None:
    def damage(answer: Answer) -> Answer:
        first, end, rest = (answer.body or b"").partition(b"-----END CERTIFICATE-----\n")
        answer.body = first + end + replaced(rest, "algorithm of the key")
        return answer

    ca.script["certificate"] = damage
    async with client:
        error = await client.failure(HOST)
        assert error.failure.kind is FailureKind.CA
        assert "its part 2 did not sign part 1" in str(error)


@pytest.mark.parametrize(
    "window",
    [
        {"suggestedWindow": {"start": "2027-01-02T00:00:00Z", "end": "2027-01-01T00:00:00Z"}},
        {"suggestedWindow": {"start": "2027-01-02T00:00:00Z", "end": "2027-01-02T00:00:00Z"}},
        {"suggestedWindow": {"start": "2027-01-02T00:00:00Z"}},
        {"suggestedWindow": {"start": "9999-12-31T23:59:59Z", "end": "9999-12-31T23:59:59Z"}},
        {"suggestedWindow": {"start": 1, "end": [2]}},
        {"suggestedWindow": {"start": "2027-01-02", "end": "2027-01-03"}},
        {"suggestedWindow": "now"},
        {"x": "y"},
    ],
)
async def test_a_window_that_makes_no_sense_is_none(ca: FakeCa, client: Client, window: dict[str, Any]) -> None:
    ca.window = window
    async with client:
        made = await client.issue(HOST)
        answer = await client.issuer.renewal_window(made.certificate.ari_id)
    assert answer.window is None
