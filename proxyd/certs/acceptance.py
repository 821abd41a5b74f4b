"""Whether a certificate may be used: from a CA, never trust it to be what was ordered; from a disk, to be intact."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from proxyd.certs.certificate import Certificate, InvalidCertificate, reading
from proxyd.core.hostname import Hostname
from proxyd.core.renewal import begins_later


def objection(certificate: Certificate, names: Iterable[Hostname], now: datetime) -> str | None:
    """Return what is wrong with a new certificate that shall be for exactly `names`, or None. Its key matches."""
    if certificate.names != frozenset(names):
        return f"for {ascii(', '.join(sorted(map(str, certificate.names))))[1:-1][:200]}"
    if begins_later(certificate.validity, now) or now >= certificate.not_after:
        return (
            f"that is not valid now ({certificate.not_before} to {certificate.not_after}): check the "
            "clock of this machine"
        )
    return _broken_link(x509.load_pem_x509_certificates(certificate.pem))


def is_unsigned(certificate: Certificate) -> bool:
    """Return whether its issuer is in the file, by name or by key, and did not sign it (1 ms where that is P-384).

    Without its issuer, or by an algorithm that is not known here, it cannot be told.
    """
    leaf, *others = x509.load_pem_x509_certificates(certificate.pem)
    issuers = [one for one in others if _is_issuer(one, leaf)]
    return bool(issuers) and not any(_may_have_signed(one, leaf) for one in issuers)


def _is_issuer(one: x509.Certificate, leaf: x509.Certificate) -> bool:
    """A bit of either may be wrong, not of both."""
    with suppress(InvalidCertificate), reading():
        if one.subject == leaf.issuer:
            return True
    with suppress(InvalidCertificate), reading():
        named = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        own = one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.key_identifier
        return named == own
    return False


def _may_have_signed(issuer: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        with reading():
            leaf.verify_directly_issued_by(issuer)
    except InvalidCertificate as error:
        return isinstance(error.__cause__, UnsupportedAlgorithm)
    return True


def _broken_link(chain: list[x509.Certificate]) -> str | None:
    for number, (signed, signer) in enumerate(pairwise(chain), 1):
        try:
            with reading():
                signed.verify_directly_issued_by(signer)
        except InvalidCertificate:
            return f"with a broken chain: its part {number + 1} did not sign part {number}"
    return None
