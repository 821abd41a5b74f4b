"""SSL contexts of the server side."""

import os
import ssl
from collections.abc import Sequence

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname

#: TLS 1.2 with forward secrecy and AEAD only; TLS 1.3 has its own list.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_ALERT = ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def certificate_context(
    host: Hostname, certificates: Sequence[Certificate], *, nameless: bool = False, http2: bool = False
) -> ssl.SSLContext:
    """Return a context that serves `host` and no other name (0.7 ms); of two kinds of keys OpenSSL chooses.

    `nameless`: for clients that send no name, and for no other. `http2`: it is offered, before HTTP/1.1.
    """
    context = _server_context()
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    for certificate in certificates:
        load_pem(context, certificate.pem)

    def second_lock(_: ssl.SSLObject, server_name: str | None, __: ssl.SSLContext) -> int | None:
        """Refuse when OpenSSL read another name than the one this context was chosen for (RFC 6066 §3)."""
        if server_name is None:
            return None if nameless or host.is_ip_address else _ALERT
        return None if not nameless and Hostname.from_wire(server_name) == host else _ALERT

    context.sni_callback = second_lock
    return context


def load_pem(context: ssl.SSLContext, pem: bytes) -> None:
    """Let `context` serve a key and chain. Raises ssl.SSLError, OSError without descriptors."""
    # load_cert_chain needs a path; a memfd keeps the key off the disk.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(_CIPHERS)
    return context
