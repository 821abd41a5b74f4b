"""A certificate that can serve: chain, key and names, valid by construction."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxyd.certs.key import PrivateKey, key_from_pem, key_kind, key_to_pem
from proxyd.core.hostname import Hostname
from proxyd.core.key_family import KeyFamily, key_family
from proxyd.core.renewal import Validity

#: Moments a while before and after these can be counted; 99991231235959Z says "no end" (RFC 5280 §4.1.2.5).
_NEVER_BEFORE, _NO_END = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
#: What a certificate and its key have in common.
PUBLIC_FORM = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class InvalidCertificate(ValueError):
    """The bytes are no certificate that could serve; the message says why, and shows nothing secret."""


@contextmanager
def reading() -> Iterator[None]:
    """Turn whatever `cryptography` thinks of foreign bytes into InvalidCertificate.

    It has its own exceptions for versions, algorithms, extensions and numbers, raised as late as a field is read.
    """
    try:
        yield
    except (InvalidCertificate, MemoryError):
        raise
    except Exception as error:
        raise InvalidCertificate(f"a certificate in it cannot be read ({type(error).__name__})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Key, chain (leaf first) and what they say. Only `parse` and `assemble` make one: the key matches the leaf."""

    pem: bytes = field(repr=False)  # key, then chain: the form of autocert's DirCache
    names: frozenset[Hostname]
    not_before: datetime
    not_after: datetime
    serial: int
    issuer: str
    leaf: bytes = field(repr=False)  # DER
    key_kind: str  # p256, p384, rsa2048, …
    ari_id: str  # certID of RFC 9773 §4.1; empty when the leaf has no authority key identifier

    @classmethod
    def assemble(cls, key: PrivateKey, chain_pem: bytes) -> "Certificate":
        """Return the certificate of a key and a PEM chain. Raises InvalidCertificate."""
        with reading():
            chain = x509.load_pem_x509_certificates(chain_pem)
            blocks = [one.public_bytes(serialization.Encoding.PEM) for one in chain]
            return cls._checked(key, chain, key_to_pem(key) + b"".join(blocks))

    @classmethod
    def parse(cls, pem: bytes) -> "Certificate":
        """Return the certificate in a DirCache file. Raises InvalidCertificate."""
        if b"-----BEGIN" not in pem:
            raise InvalidCertificate("the file is empty" if not pem.strip() else "the file is not PEM")
        if pem.count(b"-----BEGIN ") != pem.count(b"-----END "):
            raise InvalidCertificate("the file is cut off")
        try:
            key = key_from_pem(pem)
        except ValueError as error:
            raise InvalidCertificate(str(error)) from None
        with reading():
            return cls._checked(key, x509.load_pem_x509_certificates(pem), pem)

    @classmethod
    def _checked(cls, key: PrivateKey, chain: list[x509.Certificate], pem: bytes) -> "Certificate":
        leaf = chain[0]
        if leaf.public_key().public_bytes(*PUBLIC_FORM) != key.public_key().public_bytes(*PUBLIC_FORM):
            raise InvalidCertificate("the key does not belong to the certificate")
        names = _names(leaf)
        if not names:
            raise InvalidCertificate("the certificate has no subject alternative name")
        return cls(
            pem=pem,
            names=names,
            not_before=max(leaf.not_valid_before_utc, _NEVER_BEFORE),
            not_after=min(leaf.not_valid_after_utc, _NO_END),
            serial=leaf.serial_number,
            issuer=_issuer(leaf),
            leaf=leaf.public_bytes(serialization.Encoding.DER),
            key_kind=key_kind(key),
            ari_id=_ari_id(leaf),
        )

    @property
    def digest(self) -> str:
        """Return what tells it from any other, one with the same leaf and another chain included."""
        return hashlib.sha256(self.pem).hexdigest()

    @property
    def validity(self) -> Validity:
        return Validity(not_before=self.not_before, not_after=self.not_after)

    @property
    def family(self) -> KeyFamily:
        return key_family(self.key_kind)

    def has_key_of(self, other: "Certificate") -> bool:
        """Return whether both have the same key: what one lost, the other lost too."""
        keys = (key_from_pem(one.pem).public_key() for one in (self, other))
        return len({key.public_bytes(*PUBLIC_FORM) for key in keys}) == 1

    def covers(self, name: Hostname) -> bool:
        """Return whether a client that asked for `name` accepts this certificate's names (RFC 9525 §6.3)."""
        if name in self.names:
            return True
        _, dot, parent = name.text.partition(".")
        return bool(dot) and not name.is_ip_address and Hostname(f"*.{parent}") in self.names


def _names(leaf: x509.Certificate) -> frozenset[Hostname]:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    found = [Hostname(name.lower()) for name in alternatives.get_values_for_type(x509.DNSName)]
    found += [Hostname(str(address)) for address in alternatives.get_values_for_type(x509.IPAddress)]
    return frozenset(found)


def _ari_id(leaf: x509.Certificate) -> str:
    try:
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return ""
    if not authority:
        return ""
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1)  # DER: the sign bit is clear
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (authority, serial))


def _issuer(leaf: x509.Certificate) -> str:
    for kind in (x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME):
        for attribute in leaf.issuer.get_attributes_for_oid(kind):
            return "".join(char for char in str(attribute.value) if char.isprintable())[:200]
    return "unknown"
