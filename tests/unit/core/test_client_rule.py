"""Which certificates a rule admits."""

from dataclasses import replace

import pytest

from proxyd.core.client_identity import ClientIdentity
from proxyd.core.client_rule import ClientRule, RuleKind

ALICE = ClientIdentity(
    subject=r"CN=alice,O=Example\, Inc",
    issuer="CN=CA",
    serial="1f",
    alternatives=(
        ("DNS", "Alice.Clients.example.com"),
        ("email", "alice@Example.com"),
        ("URI", "spiffe://example.com/alice"),
        ("IP", "2001:db8::1"),
    ),
    fingerprint="ab" * 32,
    not_after="2030-01-01T00:00:00Z",
)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("san", "alice.clients.example.com"),
        ("san", "DNS:ALICE.clients.example.com"),
        ("san", "*.clients.example.com"),
        ("san", "alice@example.com"),
        ("san", "email:alice@EXAMPLE.com"),
        ("san", "spiffe://example.com/alice"),
        ("san", "URI:spiffe://example.com/alice"),
        ("san", "2001:DB8:0::1"),
        ("san", "IP:2001:db8::1"),
        ("subject", r"CN=alice,O=Example\, Inc"),
        ("fingerprint", "ab" * 32),
        ("fingerprint", "AB:" * 31 + "AB"),
        ("fingerprint", "sha256:" + "ab" * 32),
    ],
)
def test_who_is_admitted(kind: RuleKind, written: str) -> None:
    assert ClientRule.parse(kind, written).admits(ALICE)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("san", "clients.example.com"),
        ("san", "*.example.com"),
        ("san", "a.alice.clients.example.com"),
        ("san", "Alice@example.com"),
        ("san", "spiffe://example.com/Alice"),
        ("san", "spiffe://example.com/alice/"),
        ("san", "URI:alice.clients.example.com"),
        ("san", "2001:db8::2"),
        ("subject", "CN=alice"),
        ("subject", "O=Example\\, Inc,CN=alice"),
        ("fingerprint", "ba" * 32),
    ],
)
def test_who_is_not(kind: RuleKind, written: str) -> None:
    assert not ClientRule.parse(kind, written).admits(ALICE)


@pytest.mark.parametrize(
    ("kind", "written", "message"),
    [
        ("san", "", "is empty"),
        ("san", "a b", "must be a subject alternative name"),
        ("san", "IP:300.1.1.1", "not an IP address"),
        ("san", "a.*.example.com", "first label only"),
        ("san", "DNS:", "must be a subject alternative name"),
        ("subject", "alice", "must be a name like CN=alice"),
        ("fingerprint", "ab" * 20, "SHA-256"),
    ],
)
def test_what_cannot_be_compared(kind: RuleKind, written: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClientRule.parse(kind, written)


def test_a_certificate_without_a_subject_matches_none() -> None:
    nobody = ClientIdentity(
        subject="", issuer="", serial="", alternatives=(), fingerprint="", not_after="2030-01-01T00:00:00Z"
    )
    assert not ClientRule.parse("subject", "CN=alice").admits(nobody)
    assert not ClientRule.parse("san", "*.example.com").admits(nobody)


@pytest.mark.parametrize("label", ["", "*", "al*", "x, DNS:alice", "a/b"])
def test_only_a_label_stands_for_the_asterisk(label: str) -> None:
    one = replace(ALICE, alternatives=(("DNS", f"{label}.clients.example.com"),))
    assert not ClientRule.parse("san", "*.clients.example.com").admits(one)
