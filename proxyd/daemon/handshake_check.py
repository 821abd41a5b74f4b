"""Whether clients see the certificate that was installed: one real TLS connection to our own listener."""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.networks import NOBODY, Networks
from proxyd.core.proxy_protocol import LOCAL
from proxyd.tls.memory_handshake import SAMPLE_LABEL, client_context
from proxyd.tls.server_object import shown_chain

#: Seconds until a listener that does not answer was looked at in vain.
PATIENCE = 5.0
#: Our half of a handshake takes as long as the server's, which is in the loop: clients would wait for both. The threads
#: are not those of the disk, because a listener may be silent.
_THREADS = ThreadPoolExecutor(4, "look")


class Seen(Enum):
    """What the connection showed."""

    RIGHT = "right"
    WRONG = "wrong"
    NOTHING = "nothing"


def place(listening: tuple[str, int], host: Hostname) -> tuple[str, int] | None:
    """Return where a client of `host` comes in: an address at itself, or None when this machine does not have it."""
    if not host.is_ip_address:
        return listening
    with socket.socket(socket.AF_INET6 if ":" in host.text else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host.text, 0))
        except OSError:  # behind a NAT
            return None
    return host.text, listening[1]


async def look(
    address: tuple[str, int],
    server_name: Hostname,
    certificate: Certificate,
    *,
    balancers: Networks = NOBODY,
    seconds: float = PATIENCE,
) -> tuple[Seen, str]:
    """Return whether a client of `server_name` sees the leaf of `certificate` at `address`, and why it saw nothing.

    `balancers`: who has to begin with a PROXY header there, perhaps this machine too.
    """
    name = server_name.text.replace("*", SAMPLE_LABEL, 1)
    loop, kind = asyncio.get_running_loop(), certificate.key_kind
    try:
        async with asyncio.timeout(seconds):
            seen = await loop.run_in_executor(_THREADS, _shown_leaf, address, name, kind, balancers, seconds)
            if seen is None:  # a client of TLS 1.3 cannot choose between two keys: the other one says that we serve
                seen = await loop.run_in_executor(_THREADS, _shown_leaf, address, name, "", balancers, seconds)
                if seen is not None and _is_rsa(seen) != (certificate.family == "rsa"):
                    return Seen.RIGHT, ""
    except (OSError, TimeoutError) as error:
        return Seen.NOTHING, str(error) or type(error).__name__
    return (Seen.RIGHT if seen == certificate.leaf else Seen.WRONG), ""


def _shown_leaf(address: tuple[str, int], name: str, kind: str, balancers: Networks, seconds: float) -> bytes | None:
    """Return the leaf; None: only TLS 1.3 is taken, in which nobody asks for a kind of key. Raises OSError."""
    with socket.create_connection(address, timeout=seconds) as raw:
        if balancers.has(raw.getsockname()[0]):
            raw.sendall(LOCAL)
        with client_context(kind).wrap_socket(raw, server_hostname=name, do_handshake_on_connect=False) as connection:
            try:
                connection.do_handshake()
            except ssl.SSLError as error:  # perhaps only because we have no certificate, which clients must have there
                if shown := shown_chain(connection):
                    return shown[0]
                if kind and "PROTOCOL_VERSION" in (error.reason or ""):
                    return None
                raise
            return connection.getpeercert(binary_form=True)


def _is_rsa(leaf: bytes) -> bool:
    return isinstance(x509.load_der_x509_certificate(leaf).public_key(), RSAPublicKey)
