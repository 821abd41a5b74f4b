"""What is in a file that should have a certificate or a key: PEM, DER, or something else that has a name."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxyd.certs.certificate import InvalidCertificate, reading
from proxyd.certs.key import PrivateKey, key_from_pem

_LARGEST = 1 << 20
_BEGIN = b"-----BEGIN "
_SEQUENCE = 0x30  # how every DER certificate and key begins


@dataclass(frozen=True, slots=True, kw_only=True)
class PemFile:
    """`certificates` as they follow each other; `key_trouble`: why there is a key and it cannot be used.

    `is_request`: a certificate signing request is in it.
    """

    certificates: tuple[x509.Certificate, ...] = ()
    key: PrivateKey | None = None
    key_trouble: str | None = None
    is_der: bool = False
    is_request: bool = False

    @property
    def has_key(self) -> bool:
        return self.key is not None or self.key_trouble is not None

    @classmethod
    def parse(cls, content: bytes) -> "PemFile":
        """Return what the bytes are. Raises InvalidCertificate, whose text says what to do."""
        if not content.strip():
            raise InvalidCertificate("is empty")
        if _BEGIN not in content:
            return _der(content)
        if content.count(_BEGIN) != content.count(b"-----END "):
            raise InvalidCertificate("is cut off: a block begins and does not end; copy it again")
        if b"BEGIN PKCS7" in content:
            raise InvalidCertificate("is PKCS#7: convert it with `openssl pkcs7 -print_certs -in FILE -out NEW.pem`")
        certificates: tuple[x509.Certificate, ...] = ()
        if b"BEGIN CERTIFICATE-----" in content or b"BEGIN X509 CERTIFICATE-----" in content:
            with reading():
                certificates = tuple(x509.load_pem_x509_certificates(content))
        key, trouble = _key(content) if b"PRIVATE KEY-----" in content else (None, None)
        is_request = b"CERTIFICATE REQUEST-----" in content
        if not certificates and key is None and trouble is None and not is_request:
            kind = content.partition(_BEGIN)[2].partition(b"-----")[0].decode("ascii", "replace")
            raise InvalidCertificate(f"has neither a certificate nor a key, but {kind[:40]!r}")
        return cls(certificates=certificates, key=key, key_trouble=trouble, is_request=is_request)

    @classmethod
    def read(cls, file: Path) -> "PemFile":
        """Return what is in a file. Blocks, but not at what is no file. Raises InvalidCertificate."""
        return cls.parse(content_of(file))


def content_of(file: Path) -> bytes:
    """Return what is in a regular file. Raises InvalidCertificate, whose text says what to do."""
    try:
        if not file.is_file():
            file.stat()
            raise InvalidCertificate("is no file")
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
    except PermissionError as error:
        hint = "let the user that proxyd runs as read it, and enter its directory"
        raise InvalidCertificate(f"cannot be read ({error.strerror}): {hint}") from None
    except (OSError, ValueError) as error:
        raise InvalidCertificate(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(content) > _LARGEST:
        raise InvalidCertificate("is larger than 1 MiB: no certificate is")
    return content


def _key(content: bytes) -> tuple[PrivateKey | None, str | None]:
    try:
        return key_from_pem(content), None
    except ValueError as error:
        return None, str(error)


def _der(content: bytes) -> PemFile:
    if content[0] != _SEQUENCE:
        raise InvalidCertificate("is neither PEM nor DER: it must begin with -----BEGIN")
    try:
        with reading():
            return PemFile(certificates=(x509.load_der_x509_certificate(content),), is_der=True)
    except InvalidCertificate:
        pass
    try:
        key = serialization.load_der_private_key(content, password=None)
    except TypeError:
        return PemFile(key_trouble="the private key is encrypted", is_der=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever `cryptography` thinks of foreign bytes
        return _of_other_kind(content)
    if isinstance(key, PrivateKey):
        return PemFile(key=key, is_der=True)
    return PemFile(key_trouble=f"a {type(key).__name__} serves no browser: use EC or RSA", is_der=True)


def _of_other_kind(content: bytes) -> PemFile:
    try:
        with reading():
            x509.load_der_x509_csr(content)
    except InvalidCertificate:
        raise InvalidCertificate(
            "is binary, and neither a certificate nor a key in DER: if it is PKCS#12 (.pfx, .p12), convert it with "
            "`openssl pkcs12 -in FILE -nodes -out NEW.pem`"
        ) from None
    return PemFile(is_request=True, is_der=True)
