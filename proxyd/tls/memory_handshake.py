"""A handshake with ourselves, without a socket."""

import ssl
from functools import cache

from proxyd.core.hostname import Hostname
from proxyd.tls.server_object import shown_chain

#: Stands for the `*` of a wildcard.
SAMPLE_LABEL = "proxyd-check"
_ROUNDS = 10


@cache
def client_context(key_kind: str) -> ssl.SSLContext:
    """Return a client that compares certificates itself; for RSA one that can do nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if key_kind.startswith("rsa"):  # only the suites of TLS 1.2 name the kind of key
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305")
    return context


def shown_leaf(server: ssl.SSLContext, host: Hostname, *, key_kind: str) -> bytes | None:
    """Return the leaf (DER) that a client of `host` is shown, or None when the handshake fails."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    name = host.text.replace("*", SAMPLE_LABEL, 1)
    ours = server.wrap_bio(up, down, server_side=True)
    is_newest_only = server.minimum_version == ssl.TLSVersion.TLSv1_3
    theirs = client_context("" if is_newest_only else key_kind).wrap_bio(down, up, server_hostname=name)
    for _ in range(_ROUNDS):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                # Where clients must have a certificate this one is refused, and has seen the server's all the same.
                return next(iter(shown_chain(theirs)), None)
            if side is theirs:  # what the server says after this is not about its certificate
                return theirs.getpeercert(binary_form=True)
    return None
