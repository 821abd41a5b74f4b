"""Private keys are in no text that is made of values or of errors: both end in logs."""

import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from proxyd.certs.certificate import Certificate, InvalidCertificate
from proxyd.certs.key import account_key_from_pem, generate_key, key_from_pem, key_to_pem
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.issuance.acme_signer import AccountSigner
from proxyd.store.account_keys import KeptKey
from proxyd.store.pending_orders import PendingOrder
from tests.support.certs import make_pem

HOST = Hostname("a.example")


def parts(pem: bytes) -> list[str]:
    """Return what must not be seen of a key: its lines, and its number."""
    lines = pem.decode().partition("-----END")[0].splitlines()[1:]
    return [*lines, f"{key_from_pem(pem).private_numbers().private_value}"]  # type: ignore[union-attr]


@pytest.mark.parametrize("show", [repr, str, "{:}".format])
def test_values_do_not_show_their_keys(show: object) -> None:
    assert callable(show)
    pem = make_pem("a.example")
    key = key_from_pem(pem)
    signer = AccountSigner(key)
    lineage = Lineage(HOST, (HOST,), "p256")
    values = [
        Certificate.parse(pem),
        key,
        signer,
        signer.jwk,
        KeptKey(key=key, file="f", is_used=True, is_own=True),
        PendingOrder(issuer="ca", lineage=lineage, url="u", account="a", placed_at=datetime.now(UTC), key=key),
    ]
    for value in values:
        shown = show(value)
        assert not [part for part in parts(pem) if part in shown], type(value)


def broken(pem: bytes) -> Iterator[bytes]:
    lines = pem.splitlines(keepends=True)
    yield lines[0] + b"!" + b"".join(lines[1:])
    yield b"".join([lines[0], *lines[2:]])
    yield b"".join(lines[:-3])
    yield pem.replace(b"EC PRIVATE", b"RSA PRIVATE")
    yield key_to_pem(generate_key("p256")) + pem.partition(b"-----END EC PRIVATE KEY-----\n")[2]


def test_errors_do_not_quote_keys() -> None:
    pem = make_pem("a.example")
    secret = parts(pem)
    for one in broken(pem):
        with pytest.raises(InvalidCertificate) as caught:
            Certificate.parse(one)
        shown = "".join(traceback.format_exception(caught.value))
        assert not [part for part in secret if part in shown]
    with pytest.raises(ValueError, match="cannot be read") as failed:
        account_key_from_pem(next(broken(pem)))
    assert not [part for part in secret if part in "".join(traceback.format_exception(failed.value))]
