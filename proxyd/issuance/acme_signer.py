"""Who signs requests to a CA."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import josepy
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from proxyd.certs.key import PrivateKey


@dataclass(frozen=True)
class AccountSigner:
    """The account key, with the account's URL once it is known."""

    key: PrivateKey = field(repr=False)
    url: str | None = None

    @cached_property
    def jwk(self) -> josepy.JWK:
        """Return the public and private key as JSON Web Key."""
        is_ec = isinstance(self.key, ec.EllipticCurvePrivateKey)
        return josepy.JWKEC(key=self.key) if is_ec else josepy.JWKRSA(key=self.key)

    @cached_property
    def thumbprint(self) -> str:
        """Return the part of a key authorization after the dot (RFC 8555 §8.1)."""
        return _base64(self.jwk.thumbprint())

    def sign(self, payload: bytes, *, nonce: str | None, url: str) -> bytes:
        """Return the flattened JWS (RFC 8555 §6.2); `nonce` is None for an inner one only (§7.3.5).

        josepy's takes ten times as long, and requests of clients wait meanwhile.
        """
        header: dict[str, Any] = {"alg": _algorithm(self.key), "url": url}
        if nonce is not None:
            header["nonce"] = nonce
        header |= {"kid": self.url} if self.url else {"jwk": self.jwk.public_key().to_partial_json()}
        protected, content = _base64(json.dumps(header).encode()), _base64(payload)
        signature = _signature(self.key, f"{protected}.{content}".encode())
        return json.dumps({"protected": protected, "payload": content, "signature": _base64(signature)}).encode()


def _algorithm(key: PrivateKey) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ES384" if key.curve.key_size == 384 else "ES256"
    return "RS256"


def _signature(key: PrivateKey, message: bytes) -> bytes:
    """RFC 7518 §3.3 and §3.4."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    size = key.curve.key_size
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384() if size == 384 else hashes.SHA256())))
    length = (size + 7) // 8
    return r.to_bytes(length) + s.to_bytes(length)


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
