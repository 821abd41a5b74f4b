"""Certificates of clients, which the handshake has verified."""

import hashlib
from datetime import datetime

from cryptography import x509

from proxyd.certs.certificate import reading
from proxyd.core.client_identity import AlternativeKind, ClientIdentity

#: Others are written as numbers.
_TYPES = {
    x509.NameOID.EMAIL_ADDRESS: "emailAddress",
    x509.NameOID.SERIAL_NUMBER: "serialNumber",
    x509.NameOID.GIVEN_NAME: "GN",
    x509.NameOID.SURNAME: "SN",
}


def identity_of(der: bytes) -> ClientIdentity:
    """Return what a certificate says of whom it was given to. Raises InvalidCertificate."""
    with reading():
        certificate = x509.load_der_x509_certificate(der)
        return ClientIdentity(
            subject=certificate.subject.rfc4514_string(_TYPES),
            issuer=certificate.issuer.rfc4514_string(_TYPES),
            serial=f"{certificate.serial_number:x}",
            alternatives=tuple(_alternatives(certificate)),
            fingerprint=hashlib.sha256(der).hexdigest(),
            not_after=_rfc3339(certificate.not_valid_after_utc),
        )


def _alternatives(certificate: x509.Certificate) -> list[tuple[AlternativeKind, str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found: list[tuple[AlternativeKind, str]] = []
    for name in names:
        match name:
            case x509.DNSName(value=value):
                found.append(("DNS", value))
            case x509.RFC822Name(value=value):
                found.append(("email", value))
            case x509.UniformResourceIdentifier(value=value):
                found.append(("URI", value))
            case x509.IPAddress(value=value):
                found.append(("IP", str(value)))
            case _:  # nobody here could compare it
                pass
    return found


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
