"""What a TLS server shows to a client that asks for a name, whether or not it is any good."""

import os
import socket
import ssl
from dataclasses import dataclass

from cryptography import x509

from proxyd.core.hostname import Hostname
from proxyd.tls.server_object import shown_chain

_SECONDS = 5.0


class NothingShown(Exception):
    """There is no certificate to look at; the text says who did not show one, why, and the next step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCertificate:
    """`certificates` as they were sent; `distrust`: why this machine would not talk to the server, or None.

    `place`: where it was asked for, as one writes it.
    """

    certificates: tuple[x509.Certificate, ...]
    place: str
    address: str
    version: str
    distrust: str | None


def look(host: str, port: int, name: Hostname) -> LiveCertificate:
    """Ask a server for its certificate for `name`. Blocks for some seconds at most. Raises NothingShown."""
    server_name = None if name.is_ip_address else name.text
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return _shown(ssl.create_default_context(), host, port, name.text, place=place, distrust=None)
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message or str(error)
    except ssl.SSLError as error:
        raise NothingShown(_refusal(error, place, server_name)) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # what is too weak shall be seen, too
    try:
        return _shown(context, host, port, name.text, place=place, distrust=why)
    except ssl.SSLError as error:
        raise NothingShown(_refusal(error, place, server_name)) from None


def _shown(
    context: ssl.SSLContext, host: str, port: int, name: str, *, place: str, distrust: str | None
) -> LiveCertificate:
    is_there = False
    try:
        with socket.create_connection((host, port), timeout=_SECONDS) as raw:
            is_there = True
            with context.wrap_socket(raw, server_hostname=name) as connection:
                sent = tuple(x509.load_der_x509_certificate(one) for one in shown_chain(connection))
                address, version = str(connection.getpeername()[0]), connection.version() or ""
                return LiveCertificate(
                    certificates=sent, place=place, address=address, version=version, distrust=distrust
                )
    except ssl.SSLError:
        raise
    except TimeoutError:
        hint = "it takes connections, and begins no TLS" if is_there else "is there a firewall?"
        raise NothingShown(f"{place}: no answer within {_SECONDS:g} s: {hint}") from None
    except socket.gaierror as error:
        raise NothingShown(f"{host}: the name is not found ({error.strerror}): look at its DNS") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        what = "the connection ended" if is_there else "nobody answers there"
        raise NothingShown(f"{place}: {what} ({reason}): does it listen, and speak TLS?") from None
    except ValueError as error:
        raise NothingShown(f"{place}: what it shows cannot be read: {error}") from None


def _refusal(error: ssl.SSLError, place: str, server_name: str | None) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "unrecognized name" in reason:
        asked = f"for {server_name}" if server_name else "for who sends no name"
        return f"{place}: a TLS server, but without a certificate {asked}: ask for another one with --name"
    if any(one in reason for one in ("wrong version number", "record layer failure", "http request", "packet length")):
        return f"{place}: no TLS is spoken there ({reason}): is it another port?"
    return f"{place}: the handshake failed ({reason})"
