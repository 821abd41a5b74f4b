"""Who was revoked since."""

from datetime import timedelta
from math import inf
from pathlib import Path

from proxyd.tls.revocation import is_revoked, listed_until
from tests.support.client_certificates import ClientCa, der_of


def test_it_is_the_serial_number_on_the_list_of_who_signed_it(tmp_path: Path) -> None:
    ca, other = ClientCa(tmp_path), ClientCa(tmp_path, "Other CA")
    alice, bob = ca.client("alice"), ca.client("bob")
    mine, theirs = ca.revoke(alice).read_bytes(), other.revoke(bob).read_bytes()
    for lists, revoked in (
        (mine, [True, False]),
        (theirs, [False, False]),
        (theirs + mine, [True, False]),
        (b"", [0, 0]),
    ):
        assert [is_revoked(der_of(one), lists) for one in (alice, bob)] == revoked


def test_it_is_the_newest_list_of_who_signed_it_that_counts(tmp_path: Path) -> None:
    ca, other = ClientCa(tmp_path), ClientCa(tmp_path, "Other CA")
    leaf = der_of(ca.client())
    old, new = (ca.revoke(until=timedelta(hours=hours)).read_bytes() for hours in (1, 5))
    theirs = other.revoke(until=timedelta(hours=9)).read_bytes()
    assert listed_until(leaf, old) + 4 * 3600 == listed_until(leaf, old + new + theirs)
    assert listed_until(leaf, theirs) == listed_until(leaf, b"") == inf
