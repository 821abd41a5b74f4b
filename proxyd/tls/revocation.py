"""What revocation lists say of a client's certificate after the handshake that looked at them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from math import inf

from cryptography import x509

_LIST = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


def is_revoked(leaf: bytes, lists: bytes) -> bool:
    """Return whether a certificate (DER) is on one of the revocation lists (PEM) of who signed it."""
    certificate = x509.load_der_x509_certificate(leaf)
    return any(
        one.issuer == certificate.issuer
        and one.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
        for one in _parsed(lists)
    )


def listed_until(leaf: bytes, lists: bytes) -> float:
    """Return when the lists (PEM) of who signed a certificate (DER) are out of date, as POSIX time; inf: never."""
    issuer = x509.load_der_x509_certificate(leaf).issuer
    ends = [one.next_update_utc for one in _parsed(lists) if one.issuer == issuer]
    return max((inf if end is None else end.timestamp() for end in ends), default=inf)


@lru_cache(maxsize=4)
def _parsed(lists: bytes) -> Sequence[x509.CertificateRevocationList]:
    return [x509.load_pem_x509_crl(one) for one in _LIST.findall(lists)]
