"""Who was revoked since."""

from pathlib import Path

from proxyd.tls.revocation import is_revoked
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
