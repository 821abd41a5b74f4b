"""Whom clients of a host are believed by: the CA and the revocation list of its `tls`, read from files."""

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cryptography import x509

from proxyd.config.regular_file import open_regular

Key = Literal["client_ca", "client_crl"]

_LONGEST = 16 << 20
_BLOCKS: dict[Key, re.Pattern[bytes]] = {
    "client_ca": re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\r?\n?", re.DOTALL),
    "client_crl": re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\r?\n?", re.DOTALL),
}
_WANTED: dict[Key, str] = {
    "client_ca": "it must have the certificate of the CA that signs your clients' in it, in PEM",
    "client_crl": "it must have the CA's revocation list in it, in PEM; `openssl crl -inform DER -in FILE` makes that",
}


class ClientTrustError(Exception):
    """A file of `client_ca` or `client_crl` cannot be used: `key` names it, the text says why and what it must be."""

    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key


def read_trust(key: Key, file: Path) -> bytes:
    """Return what matters in a file: its certificates, or its revocation lists (PEM). Raises ClientTrustError."""
    try:
        with open_regular(file) as opened:
            content = opened.read(_LONGEST + 1)
    except OSError as error:
        raise _unusable(key, file, error.strerror or str(error)) from None
    if len(content) > _LONGEST:
        raise _unusable(key, file, "longer than 16 MiB")
    blocks = _BLOCKS[key].findall(content)
    if not blocks:
        what = "certificate" if key == "client_ca" else "revocation list"
        raise _unusable(key, file, f"no {what} is in it" if content.strip() else "it is empty")
    try:
        _parse(key, blocks)
    except (ValueError, ssl.SSLError) as error:
        reason = (error.reason if isinstance(error, ssl.SSLError) else None) or str(error)
        raise _unusable(key, file, reason) from None
    return b"\n".join(one.strip() for one in blocks) + b"\n"


def _parse(key: Key, blocks: Sequence[bytes]) -> None:
    """Raises ValueError, ssl.SSLError."""
    if key == "client_crl":
        for one in blocks:
            x509.load_pem_x509_crl(one)
    else:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=b"\n".join(blocks).decode("ascii"))


def _unusable(key: Key, file: Path, reason: str) -> ClientTrustError:
    return ClientTrustError(key, f"{file} cannot be used ({reason}): {_WANTED[key]}")
