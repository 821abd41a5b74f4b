"""What a CA sends is not believed."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.certs.acceptance import objection
from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.core.hostname import Hostname
from tests.support import fake_ca_authority as authority

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOST, OTHER = Hostname("example.com"), Hostname("www.example.com")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOT = authority.authority("Root")
MIDDLE = authority.authority("Middle", ROOT)


def issued(
    *names: Hostname,
    signer: authority.Subject = MIDDLE,
    chain: tuple[authority.Subject, ...] = (MIDDLE, ROOT),
    begin: datetime = NOW,
    end: datetime = NOW + 90 * DAY,
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name.text) for name in names])
    leaf = authority.leaf(key.public_key(), alternatives, signer, not_before=begin, not_after=end)
    return Certificate.assemble(key, authority.pem(leaf, *(one[0] for one in chain)).encode())


@pytest.mark.parametrize("chain", [(MIDDLE, ROOT), (MIDDLE,), ()])
def test_what_was_ordered_is_taken(chain: tuple[authority.Subject, ...]) -> None:
    assert objection(issued(HOST, OTHER, chain=chain), [OTHER, HOST], NOW) is None


def test_the_names_must_be_those_that_were_ordered() -> None:
    assert objection(issued(HOST), [OTHER], NOW) == "for example.com"
    assert objection(issued(HOST, OTHER), [HOST], NOW) == "for example.com, www.example.com"
    assert objection(issued(HOST), [HOST, OTHER], NOW) == "for example.com"
    assert objection(issued(Hostname("*.example.com")), [OTHER], NOW) == "for *.example.com"


@pytest.mark.parametrize(
    ("begin", "end"),
    [(NOW - 2 * DAY, NOW), (NOW + HOUR + timedelta(seconds=1), NOW + DAY), (NOW, NOW), (NOW - 2 * DAY, NOW - DAY)],
)
def test_it_must_be_valid_now(begin: datetime, end: datetime) -> None:
    wrong = objection(issued(HOST, begin=begin, end=end), [HOST], NOW)
    assert wrong is not None
    assert "not valid now" in wrong


@pytest.mark.parametrize("begin", [NOW - DAY, datetime(1950, 1, 1, tzinfo=UTC)])
def test_one_without_an_end_is_taken_and_its_moments_can_be_counted(begin: datetime) -> None:
    found = issued(HOST, begin=begin, end=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert objection(found, [HOST], NOW) is None
    assert found.not_after + 400 * DAY > found.not_after > NOW > found.not_before - 400 * DAY


def test_the_clocks_may_differ_by_an_hour() -> None:
    assert objection(issued(HOST, begin=NOW + HOUR), [HOST], NOW) is None


@pytest.mark.parametrize(
    ("signer", "chain", "part"),
    [(ROOT, (MIDDLE, ROOT), 1), (MIDDLE, (ROOT, MIDDLE), 1), (MIDDLE, (MIDDLE, MIDDLE), 2)],
)
def test_each_part_of_the_chain_must_have_signed_the_one_before(
    signer: authority.Subject, chain: tuple[authority.Subject, ...], part: int
) -> None:
    wrong = objection(issued(HOST, signer=signer, chain=chain), [HOST], NOW)
    assert wrong == f"with a broken chain: its part {part + 1} did not sign part {part}"


def test_a_signer_of_the_same_name_is_another_one() -> None:
    impostor = authority.authority("Middle", ROOT)
    assert objection(issued(HOST, signer=impostor), [HOST], NOW) is not None


def test_a_certificate_for_another_key_is_none() -> None:
    alternatives = x509.SubjectAlternativeName([x509.DNSName(HOST.text)])
    of_leaf, ours = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    leaf = authority.leaf(of_leaf.public_key(), alternatives, MIDDLE, not_before=NOW, not_after=NOW + DAY)
    with pytest.raises(InvalidCertificate, match="does not belong"):
        Certificate.assemble(ours, authority.pem(leaf).encode())
