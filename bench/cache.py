"""Makes a configuration and a full cache: N hosts, each with a key and a certificate of its own.

    python -m bench.cache --hosts 10000 DIRECTORY

Chains look like Let's Encrypt's: a P-256 leaf for 90 days, one intermediate. The root is DIRECTORY/root.pem.
"""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

_PEM = serialization.Encoding.PEM
_DOMAIN = "bench.example.com"


def host_name(number: int) -> str:
    """Return the name of a host."""
    return f"host{number:05}.{_DOMAIN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signer:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make_cache(directory: Path, hosts: int, *, upstream: int, https: int, http: int) -> Path:
    """Write everything and return the path of the configuration."""
    cache = directory / "cache"
    cache.mkdir(parents=True, mode=0o700, exist_ok=True)
    root = _authority("Bench root", None)
    intermediate = _authority("Bench intermediate", root)
    (directory / "root.pem").write_bytes(root.certificate.public_bytes(_PEM))
    for number in range(hosts):
        file = cache / host_name(number)
        file.write_bytes(_pem(host_name(number), intermediate, age=timedelta(days=number * 50 / hosts)))
        file.chmod(0o600)
    config = directory / "config.yaml"
    lines = [f"listen: {{https: '127.0.0.1:{https}', http: '127.0.0.1:{http}'}}", f"cache: {cache}"]
    lines += ["workers: 1", "admin: {listen: []}"]  # one process is measured
    # Nothing listens there: what is measured must order nothing.
    lines += ["acme: {server: 'https://127.0.0.1:1/dir'}", "hosts:"]
    lines += [f"  {host_name(number)}: http://127.0.0.1:{upstream}" for number in range(hosts)]
    config.write_text("\n".join(lines) + "\n")
    return config


def _authority(name: str, parent: _Signer | None) -> _Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])
    signer = parent.key if parent else key
    issuer = parent.certificate.subject if parent else subject
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _Signer(key=key, certificate=certificate)


def _pem(host: str, signer: _Signer, *, age: timedelta) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    born = datetime.now(UTC) - age
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    location = x509.UniformResourceIdentifier("http://ca.bench.example.com/intermediate.der")
    access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, location)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(born)
        .not_valid_after(born + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    private = key.private_bytes(_PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return private + leaf.public_bytes(_PEM) + signer.certificate.public_bytes(_PEM)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--https", type=int, default=18_443)
    parser.add_argument("--http", type=int, default=18_080)
    parser.add_argument("--upstream", type=int, default=18_000)
    chosen = parser.parse_args()
    ports = {"upstream": chosen.upstream, "https": chosen.https, "http": chosen.http}
    print(make_cache(chosen.directory, chosen.hosts, **ports))


if __name__ == "__main__":
    main()
