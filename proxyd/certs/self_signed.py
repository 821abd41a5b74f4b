"""A pair for tests: a certificate that signed itself."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxyd.certs.key import generate_key, key_to_pem
from proxyd.core.hostname import Hostname

#: Clocks differ a little.
_SLACK = timedelta(minutes=5)
_LONGEST_COMMON_NAME = 64


def self_signed(hosts: Sequence[Hostname], *, now: datetime, lifetime: timedelta) -> tuple[bytes, bytes]:
    """Return a certificate for at least one host and its key (P-256), both PEM."""
    key = generate_key("p256")
    common = [x509.NameAttribute(NameOID.COMMON_NAME, hosts[0].text)] if _fits(hosts[0]) else []
    name = x509.Name(common)
    begin = now.replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .not_valid_before(begin - _SLACK)
        .not_valid_after(begin + lifetime)
        .add_extension(x509.SubjectAlternativeName([_general(one) for one in hosts]), critical=not common)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_to_pem(key)


def _fits(host: Hostname) -> bool:
    return len(host.text) <= _LONGEST_COMMON_NAME


def _general(host: Hostname) -> x509.GeneralName:
    return x509.IPAddress(ip_address(host.text)) if host.is_ip_address else x509.DNSName(host.text)
