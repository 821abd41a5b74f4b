"""What a CA is asked to sign (RFC 8555 §7.4, RFC 8738)."""

from collections.abc import Sequence
from ipaddress import ip_address

import josepy
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from proxyd.certs.key import PrivateKey
from proxyd.core.hostname import Hostname


def identifier(name: Hostname) -> dict[str, str]:
    """Return a name as an order says it."""
    return {"type": "ip" if name.is_ip_address else "dns", "value": name.text}


def csr(names: Sequence[Hostname], key: PrivateKey) -> str:
    """Return the signing request, base64url of DER."""
    alternatives = x509.SubjectAlternativeName(
        [x509.IPAddress(ip_address(one.text)) if one.is_ip_address else x509.DNSName(one.text) for one in names]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    return josepy.b64encode(signed.public_bytes(serialization.Encoding.DER)).decode()
