"""SSL contexts of the server side."""

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.tls_policy import TlsPolicy
from proxyd.tls.server_object import AskingContext, ServerObject

#: Which names a client may send that gets a context: the host's own; none; any, or none.
Sent = Literal["host", "none", "any"]
ALL_SENT: tuple[Sent, ...] = get_args(Sent)

#: Mozilla's "intermediate" for TLS 1.2, without DHE: forward secrecy and AEAD only. TLS 1.3 has its own list.
_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
#: Python has no name for it: a client that prefers ChaCha20, without AES in hardware, gets that.
_PRIORITIZE_CHACHA = 1 << 21
_ALERT = ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
_FLOORS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def certificate_context(
    host: Hostname, certificates: Sequence[Certificate], *, policy: TlsPolicy | None = None, sent: Sent = "host"
) -> ssl.SSLContext:
    """Return a context that serves `host` (0.7 ms); of two kinds of keys OpenSSL chooses. Raises ssl.SSLError, OSError.

    `sent`: which names clients may have sent that are given it.
    """
    context = _context_for(policy or TlsPolicy())
    for certificate in certificates:
        load_pem(context, certificate.pem)

    def second_lock(_: ssl.SSLObject, server_name: str | None, __: ssl.SSLContext) -> int | None:
        """Refuse when OpenSSL read another name than the one this context was chosen for (RFC 6066 §3)."""
        if sent == "any":
            return None
        if server_name is None:
            return None if sent == "none" or host.is_ip_address else _ALERT
        return None if sent == "host" and Hostname.from_wire(server_name) == host else _ALERT

    context.sni_callback = second_lock
    return context


def load_pem(context: ssl.SSLContext, pem: bytes) -> None:
    """Let `context` serve a key and chain. Raises ssl.SSLError, OSError without descriptors."""
    with _as_file(pem) as path:
        context.load_cert_chain(path)


def _context_for(policy: TlsPolicy) -> ssl.SSLContext:
    """Return what keeps to a policy; of one that is broken, without asking: nobody is served on that connection."""
    context: ssl.SSLContext
    if policy.asks:
        context = AskingContext(ssl.PROTOCOL_TLS_SERVER)
        _ask(context, policy)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = ServerObject
    set_common(context)
    context.minimum_version = _FLOORS[policy.min_version]
    context.set_alpn_protocols([one.decode() for one in policy.protocols])
    return context


def set_common(context: ssl.SSLContext) -> None:
    """Have a server do what all of ours do: TLS 1.2 at least, and good suites in our order (testssl.sh wants one)."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    context.set_ciphers(_CIPHERS)


def _ask(context: AskingContext, policy: TlsPolicy) -> None:
    """Ask clients for a certificate. Python cannot name the CAs to them: they offer what they have."""
    context.verify_mode = ssl.CERT_REQUIRED if policy.client_auth == "require" else ssl.CERT_OPTIONAL
    # A CA in the file is trusted by that, also one that another CA signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.lists = policy.client_crl
    if policy.client_crl:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    with _as_file(policy.client_ca + policy.client_crl) as path:
        context.load_verify_locations(path)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """OpenSSL wants a path for it: one that leaves nothing on the disk."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
