"""Who is let in with which certificate, and what the upstream is told."""

from base64 import b64decode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxyd.certs.client_certificate import identity_of
from proxyd.core.client_rule import ClientRule
from proxyd.proxy.client_access import ClientAccess
from tests.support.private_ca import PrivateCa


def der_of(file: Path) -> bytes:
    return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(serialization.Encoding.DER)


def lines_of(block: bytes) -> dict[bytes, bytes]:
    return dict(line.split(b": ", 1) for line in block.split(b"\r\n")[1:])


def test_what_the_upstream_is_told(tmp_path: Path) -> None:
    ca = PrivateCa(tmp_path)
    leaf, root = der_of(ca.make("alice.example.com")), der_of(ca.root)
    access = ClientAccess(headers=(("X-San", "san"), ("X-Print", "fingerprint"), ("X-Issuer", "issuer")))
    caller = access.caller((leaf, root, root))
    told = lines_of(caller.lines)
    assert caller.is_admitted
    assert caller.identity == identity_of(leaf)
    assert [*told] == [b"Client-Cert", b"Client-Cert-Chain", b"X-San", b"X-Print", b"X-Issuer"]
    assert (told[b"Client-Cert"][:1], told[b"Client-Cert"][-1:]) == (b":", b":")
    assert b64decode(told[b"Client-Cert"].strip(b":"), validate=True) == leaf
    chain = told[b"Client-Cert-Chain"].split(b", ")
    assert [b64decode(one.strip(b":"), validate=True) for one in chain] == [root, root]
    assert told[b"X-San"] == b"DNS:alice.example.com"


def test_a_long_chain_is_left_out(tmp_path: Path) -> None:
    leaf = der_of(PrivateCa(tmp_path).make("a.example"))
    assert [*lines_of(ClientAccess().caller((leaf, *[leaf] * 20)).lines)] == [b"Client-Cert"]


def test_long_values_are_left_out(tmp_path: Path) -> None:
    leaf = der_of(PrivateCa(tmp_path).make(*(f"{number}.a-long-name.example.com" for number in range(400))))
    told = lines_of(ClientAccess(headers=(("X-San", "san"), ("X-Serial", "serial"))).caller((leaf,)).lines)
    assert [*told] == [b"Client-Cert", b"X-Serial"]


def test_without_a_certificate_nothing_is_told(tmp_path: Path) -> None:
    rule = ClientRule.parse("san", "a.example")
    assert ClientAccess(headers=(("X-San", "san"),)).caller(()) == (b"", True, None)
    assert ClientAccess(rules=(rule,)).caller(()) == (b"", False, None)


def test_any_rule_admits(tmp_path: Path) -> None:
    ca = PrivateCa(tmp_path)
    rules = tuple(ClientRule.parse("san", one) for one in ("a.example", "b.example"))
    access = ClientAccess(rules=rules)
    admitted = [access.caller((der_of(ca.make(f"{one}.example")),)).is_admitted for one in "abc"]
    assert admitted == [True, True, False]


def test_what_cannot_be_read_passes_no_rule() -> None:
    assert ClientAccess().caller((b"?",)).is_admitted
    assert not ClientAccess(rules=(ClientRule.parse("san", "a.example"),)).caller((b"?",)).is_admitted
