"""The CAs that this machine trusts, to tell a missing intermediate from a root that nobody sends."""

import ssl
import warnings
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from proxyd.certs.certificate import InvalidCertificate, reading

_BLOCK = b"-----BEGIN CERTIFICATE-----"


class SystemRoots:
    """Read when they are first asked for. Blocks then, for some 20 ms."""

    def issued(self, certificate: x509.Certificate) -> bool:
        """Return whether one of them signed it."""
        return any(signed(certificate, root) for root in self._by_subject.get(certificate.issuer, ()))

    def has(self, certificate: x509.Certificate) -> bool:
        """Return whether it is one of them."""
        return any(root == certificate for root in self._by_subject.get(certificate.subject, ()))

    @cached_property
    def _by_subject(self) -> dict[x509.Name, list[x509.Certificate]]:
        found: dict[x509.Name, list[x509.Certificate]] = {}
        for one in _certificates():
            with suppress(InvalidCertificate), reading():
                found.setdefault(one.subject, []).append(one)
        return found


def signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether `issuer` signed it; by an algorithm that is not known here, its name has to do."""
    with suppress(InvalidCertificate), reading():
        if certificate.issuer != issuer.subject:
            return False
        with suppress(UnsupportedAlgorithm):
            certificate.verify_directly_issued_by(issuer)
        return True
    return False  # another key, or one of another kind


def _certificates() -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else []
    if paths.capath and not files:
        files = sorted(Path(paths.capath).glob("*.0"))
    for file in files:
        try:
            content = file.read_bytes()
        except OSError:
            continue
        for block in content.split(_BLOCK)[1:]:
            # One that cannot be read hides no other; an old one is no news that a person needs.
            with suppress(InvalidCertificate), reading(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(x509.load_pem_x509_certificate(_BLOCK + block))
    return found
