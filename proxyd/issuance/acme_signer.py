"""Who signs requests to a CA."""

from dataclasses import dataclass

import josepy
from acme import jws
from cryptography.hazmat.primitives.asymmetric import ec

from proxyd.certs.key import PrivateKey


@dataclass(frozen=True, slots=True)
class AccountSigner:
    """The account key, with the account's URL once it is known."""

    key: PrivateKey
    url: str | None = None

    @property
    def jwk(self) -> josepy.JWK:
        """Return the public and private key as JSON Web Key."""
        is_ec = isinstance(self.key, ec.EllipticCurvePrivateKey)
        return josepy.JWKEC(key=self.key) if is_ec else josepy.JWKRSA(key=self.key)

    @property
    def thumbprint(self) -> str:
        """Return the part of a key authorization after the dot (RFC 8555 §8.1)."""
        return josepy.b64encode(self.jwk.thumbprint()).decode()

    def sign(self, payload: bytes, *, nonce: str | None, url: str) -> bytes:
        """Return the flattened JWS (RFC 8555 §6.2); `nonce` is None for an inner one only (§7.3.5)."""
        alg = josepy.RS256
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            alg = josepy.ES384 if self.key.curve.key_size == 384 else josepy.ES256
        decoded = None if nonce is None else josepy.decode_b64jose(nonce)
        signed = jws.JWS.sign(payload, key=self.jwk, alg=alg, nonce=decoded, url=url, kid=self.url)
        return signed.json_dumps().encode()
