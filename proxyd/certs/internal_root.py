"""The root of our own CA: made, read, and what it signs."""

import hashlib
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxyd.certs.certificate import Certificate, InvalidCertificate, reading
from proxyd.certs.key import generate_key, key_from_pem, key_to_pem
from proxyd.core.hostname import Hostname
from proxyd.core.internal_ca import LOCAL_NETWORKS, LOCAL_SUFFIXES
from proxyd.core.renewal import Validity

_LIFE = timedelta(days=3650)
BACKDATED = timedelta(hours=1)
_LONGEST_MACHINE = 24  # a common name has at most 64 characters (RFC 5280 A.1)
_SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalRoot:
    """Key and certificate that belong together; only `make` and `parse` give one."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate = field(repr=False)

    @classmethod
    def make(cls, machine: str, now: datetime, *, limited: bool) -> "InternalRoot":
        """Return a new root; `limited`: it can certify local names only, whoever has its key (RFC 5280 §4.2.1.10)."""
        key = ec.generate_private_key(ec.SECP256R1())
        what = "proxyd internal CA" if limited else "proxyd internal CA for any name,"
        text = f"{what} {machine[:_LONGEST_MACHINE] or 'localhost'} {now:%Y-%m-%d} {secrets.token_hex(2)}"
        name = _common_name(text[:64])
        builder = _begun(name, name, key.public_key(), Validity(not_before=now - BACKDATED, not_after=now + _LIFE))
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_usage(signs_certificates=True), True),
            (_SERVER, False),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        ]
        if limited:
            permitted = [*map(x509.DNSName, LOCAL_SUFFIXES), *map(x509.IPAddress, LOCAL_NETWORKS)]
            extensions.append((x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), True))
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        return cls(key=key, certificate=builder.sign(key, hashes.SHA256()))

    @classmethod
    def parse(cls, pem: bytes) -> "InternalRoot":
        """Return what `pem` wrote. Raises InvalidCertificate that says what is wrong with it."""
        try:
            key = key_from_pem(pem)
        except ValueError as error:
            raise InvalidCertificate(str(error)) from None
        with reading():
            certificate = x509.load_pem_x509_certificate(pem)
            if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
                raise InvalidCertificate("the key does not belong to the certificate")
            if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                raise InvalidCertificate("the certificate is not that of a CA")
            certificate.verify_directly_issued_by(certificate)
        return cls(key=key, certificate=certificate)

    @property
    def pem(self) -> bytes:
        """Return the key, then the certificate, in one file: one rename replaces both."""
        return key_to_pem(self.key) + self.certificate_pem

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the certificate, in hex."""
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    @property
    def name(self) -> str:
        return str(self.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)

    @property
    def validity(self) -> Validity:
        one = self.certificate
        return Validity(not_before=one.not_valid_before_utc, not_after=one.not_valid_after_utc)

    def certify(self, names: Iterable[Hostname], key_kind: str, validity: Validity) -> Certificate:
        """Return a certificate for a server, with a fresh key; it ends with the root at the latest. Blocks for RSA.

        The root is in its file, so that a damaged leaf is noticed (certs/acceptance.py); clients need it not.
        """
        key, mine = generate_key(key_kind), self.validity
        begin, end = max(validity.not_before, mine.not_before), min(validity.not_after, mine.not_after)
        builder = _begun(
            self.certificate.subject, x509.Name([]), key.public_key(), Validity(not_before=begin, not_after=end)
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            # Critical, because the subject is empty (RFC 5280 §4.2.1.6).
            (x509.SubjectAlternativeName([*map(_general_name, names)]), True),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs_certificates=False), True),
            (_SERVER, False),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (identifier, False),
        ]
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        leaf = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return Certificate.assemble(key, leaf + self.certificate_pem)


def _begun(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _general_name(name: Hostname) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name.text)) if name.is_ip_address else x509.DNSName(name.text)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
