"""Which certificate is the leaf, in which order the others follow, and what is missing."""

from cryptography import x509

from proxyd.certs.chain import Chain, name_of, public_bytes
from proxyd.certs.system_roots import SystemRoots, signed
from tests.support.certs import make_pem
from tests.support.own_files import TestCa

CA, OTHER = TestCa("Mine"), TestCa("Other")
ONE = CA.issue("a.example.test", url="http://ca.test/intermediate.der")
LEAF, (MIDDLE,), (ROOT,) = (
    ONE.certificate,
    *(x509.load_pem_x509_certificates(one) for one in (CA.intermediate, CA.root)),
)
STRANGER = OTHER.issue("b.example.test").certificate


class Roots(SystemRoots):
    """A machine that trusts one CA."""

    def __init__(self, *roots: x509.Certificate) -> None:
        self._roots = roots

    def issued(self, certificate: x509.Certificate) -> bool:
        return any(signed(certificate, one) for one in self._roots)


def chain(*certificates: x509.Certificate, roots: SystemRoots | None = None) -> Chain:
    return Chain.of(certificates, ONE.private, roots or Roots())


def test_a_whole_chain_in_order() -> None:
    for certificates in ((LEAF, MIDDLE), (LEAF, MIDDLE, ROOT)):
        found = chain(*certificates)
        assert found.links == certificates
        assert found.is_in_order
        assert found.missing is None


def test_the_order_is_mended() -> None:
    found = chain(ROOT, MIDDLE, LEAF)
    assert found.links == (LEAF, MIDDLE, ROOT)
    assert not found.is_in_order
    assert Chain.of([MIDDLE, LEAF], None, Roots()).links == (LEAF, MIDDLE), "without a key: who is no CA"


def test_a_leaf_alone_lacks_its_issuer() -> None:
    found = chain(LEAF)
    assert found.missing == "CN=Mine Intermediate"
    assert found.missing_url == "http://ca.test/intermediate.der"
    assert chain(LEAF, STRANGER).missing == "CN=Mine Intermediate"
    assert chain(LEAF, STRANGER).others == (STRANGER,)
    assert chain(LEAF, ROOT).missing == "CN=Mine Intermediate", "its root is not its issuer"


def test_nobody_sends_a_root() -> None:
    direct = CA.issue("a.example.test", by_root=True)
    assert Chain.of([direct.certificate], direct.private, Roots(ROOT)).missing is None
    assert Chain.of([direct.certificate], direct.private, Roots()).missing == "CN=Mine Root"
    assert Chain.of([direct.certificate, ROOT], direct.private, Roots()).missing is None


def test_one_that_signed_itself() -> None:
    (own,) = x509.load_pem_x509_certificates(make_pem("a.example.test"))
    found = Chain.of([own], None, Roots())
    assert found.is_self_signed
    assert found.missing is None


def test_a_name_alone_makes_no_issuer() -> None:
    (impostor,) = x509.load_pem_x509_certificates(TestCa("Mine").intermediate)
    assert impostor.subject == LEAF.issuer
    assert not signed(LEAF, impostor)
    assert chain(LEAF, impostor).missing is not None


def test_names_and_keys() -> None:
    assert name_of(ROOT.subject) == "CN=Mine Root"
    assert name_of(x509.Name([])) == "nobody (an empty name)"
    assert public_bytes(LEAF) == public_bytes(ONE.private)


def test_the_roots_of_this_machine_are_read() -> None:
    roots = SystemRoots()
    assert not roots.issued(LEAF)
    assert not roots.has(ROOT)
