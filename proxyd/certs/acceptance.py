"""Whether a certificate that a CA sent may be used: never trust it to be what was ordered."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509

from proxyd.certs.certificate import Certificate, InvalidCertificate, reading
from proxyd.core.hostname import Hostname

_CLOCK_SLACK = timedelta(hours=1)


def objection(certificate: Certificate, names: Iterable[Hostname], now: datetime) -> str | None:
    """Return what is wrong with a new certificate that shall be for exactly `names`, or None. Its key matches."""
    if certificate.names != frozenset(names):
        return f"for {ascii(', '.join(sorted(map(str, certificate.names))))[1:-1][:200]}"
    if now + _CLOCK_SLACK < certificate.not_before or now >= certificate.not_after:
        return (
            f"that is not valid now ({certificate.not_before} to {certificate.not_after}): check the "
            "clock of this machine"
        )
    return _broken_link(x509.load_pem_x509_certificates(certificate.pem))


def _broken_link(chain: list[x509.Certificate]) -> str | None:
    for number, (signed, signer) in enumerate(pairwise(chain), 1):
        try:
            with reading():
                signed.verify_directly_issued_by(signer)
        except InvalidCertificate:
            return f"with a broken chain: its part {number + 1} did not sign part {number}"
    return None
