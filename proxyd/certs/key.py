"""Private keys: made, written and read as PEM."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES: dict[str, type[ec.EllipticCurve]] = {"p256": ec.SECP256R1, "p384": ec.SECP384R1}


def generate_key(kind: str) -> PrivateKey:
    """Return a fresh key: p256, p384, rsa2048, rsa3072 or rsa4096 (RSA takes up to a second)."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa")))


def key_kind(key: PrivateKey) -> str:
    """Return the kind in the words of `generate_key`; other curves by their name."""
    if isinstance(key, rsa.RSAPrivateKey):
        return f"rsa{key.key_size}"
    return next((kind for kind, curve in _CURVES.items() if isinstance(key.curve, curve)), key.curve.name)


def key_to_pem(key: PrivateKey) -> bytes:
    """Return the form that autocert writes: SEC 1 for EC, PKCS#1 for RSA, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes) -> PrivateKey:
    """Return the first private key in `pem`. Raises ValueError that says what is wrong."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the private key is encrypted") from None
    except MemoryError:
        raise
    except Exception as error:  # whatever `cryptography` thinks of foreign bytes
        raise ValueError("the private key cannot be read") from error
    if not isinstance(key, PrivateKey):
        raise ValueError(f"a {type(key).__name__} serves no browser: use EC or RSA")
    return key


def account_key_from_pem(pem: bytes) -> PrivateKey:
    """Return the first private key in `pem`, if one can sign for an account with it (RFC 7518 §3.3, §3.4).

    Raises ValueError that says what is wrong.
    """
    key = key_from_pem(pem)
    kind = key_kind(key)
    if kind not in _CURVES and not (isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048):
        raise ValueError(f"no CA takes requests by a key of the kind {kind}: P-256, P-384 or RSA from 2048 bits")
    return key
