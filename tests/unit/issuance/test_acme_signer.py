"""Requests are signed as RFC 8555 §6.2 wants it, judged by a library that others use."""

import json

import josepy
import pytest

from proxyd.certs.key import generate_key
from proxyd.issuance.acme_signer import AccountSigner

_URL = "https://ca.test/new-order"


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("p256", josepy.ES256), ("p384", josepy.ES384), ("rsa2048", josepy.RS256)]
)
@pytest.mark.parametrize("account", [None, "https://ca.test/account/1"])
@pytest.mark.parametrize("nonce", [None, "bm9uY2U"])
def test_another_library_takes_what_is_signed(
    kind: str, algorithm: josepy.JWASignature, account: str | None, nonce: str | None
) -> None:
    signer = AccountSigner(generate_key(kind), account)
    flat = json.loads(signer.sign(b'{"identifiers":[]}', nonce=nonce, url=_URL))
    assert flat.keys() == {"protected", "payload", "signature"}
    protected = json.loads(josepy.decode_b64jose(flat["protected"]))
    key = signer.jwk.public_key()
    who = {"kid": account} if account else {"jwk": key.to_partial_json()}
    when = {"nonce": nonce} if nonce else {}
    assert protected == {"alg": str(algorithm), "url": _URL, **who, **when}
    assert josepy.decode_b64jose(flat["payload"]) == b'{"identifiers":[]}'
    signed = f"{flat['protected']}.{flat['payload']}".encode()
    assert algorithm.verify(key.key, signed, josepy.decode_b64jose(flat["signature"]))


def test_the_payload_of_a_question_is_empty() -> None:
    flat = json.loads(AccountSigner(generate_key("p256")).sign(b"", nonce="bm9uY2U", url=_URL))
    assert flat["payload"] == ""


def test_numbers_of_a_signature_keep_their_length() -> None:
    signer = AccountSigner(generate_key("p256"))
    lengths = {
        len(json.loads(signer.sign(b"", nonce=None, url=f"{_URL}/{number}"))["signature"]) for number in range(600)
    }
    assert lengths == {86}  # 64 bytes, also where one of the two begins with a zero
