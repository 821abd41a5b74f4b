"""Certificates of an operator's own, in files as CAs and people leave them there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.support.fake_ca_authority import authority, name, pem

_DAY = timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class TestCa:
    """A root and an intermediate, which `lasts` so long from yesterday on. `root`: PEM, for clients."""

    __test__ = False

    def __init__(self, title: str = "Test", *, lasts: timedelta = 3650 * _DAY) -> None:
        self._root = authority(f"{title} Root")
        self._intermediate = authority(f"{title} Intermediate", self._root, lasts=lasts)
        self.root = pem(self._root[0]).encode()
        self.intermediate = pem(self._intermediate[0]).encode()

    def issue(
        self,
        *names: str,
        begins: timedelta = -_DAY,
        lasts: timedelta = 90 * _DAY,
        key: Key | None = None,
        by_root: bool = False,
        url: str | None = None,
    ) -> "Issued":
        """Return a certificate for names; `url`: where it says that its issuer is."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate, signing = self._root if by_root else self._intermediate
        begin = datetime.now(UTC).replace(microsecond=0) + begins
        built = (
            x509.CertificateBuilder()
            .subject_name(name(names[0]))
            .issuer_name(certificate.subject)
            .serial_number(x509.random_serial_number())
            .public_key(key.public_key())
            .not_valid_before(begin)
            .not_valid_after(begin + lasts)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
            # Without it clients in Python 3.13 refuse a certificate.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        )
        if url is not None:
            access = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(url)
            )
            built = built.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        return Issued(built.sign(signing, hashes.SHA256()), key, self.intermediate)


class Issued:
    """`leaf`, `chain` (leaf and intermediate) and `key` are PEM."""

    def __init__(self, certificate: x509.Certificate, key: Key, intermediate: bytes) -> None:
        self.certificate = certificate
        self.private = key
        self.leaf = pem(certificate).encode()
        self.chain = self.leaf + intermediate
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def serial(self) -> str:
        return f"{self.certificate.serial_number:x}"

    def put(self, cert: Path, key: Path) -> None:
        """Put both in their places, each by a rename."""
        put(key, self.key, mode=0o600)
        put(cert, self.chain)


def put(file: Path, content: bytes, *, mode: int = 0o644) -> Path:
    """Replace a file as careful programs do."""
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(content)
    new.chmod(mode)
    return new.rename(file)
