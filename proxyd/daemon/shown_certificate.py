"""What answers for a name by TLS at an address."""

import asyncio
import os
import ssl

from cryptography import x509

from proxyd.certs.certificate import InvalidCertificate, reading
from proxyd.core.hostname import Hostname

_SECONDS = 3.0
_MOST_TEXT = 80


async def shown_certificate(name: Hostname, address: str, port: int) -> str:
    """Return in words which certificate is shown. Never raises for what the network does; nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=name.text)
            try:
                leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.transport.abort()
    except TimeoutError:
        return f"no answer within {_SECONDS:.0f} s"
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        return f"a TLS server answers, but shows no certificate for this name ({reason or 'no reason given'})"
    except OSError as error:
        return f"nobody answers ({os.strerror(error.errno) if error.errno and error.errno > 0 else 'no connection'})"
    return _described(leaf or b"")


def _described(leaf: bytes) -> str:
    try:
        with reading():
            certificate = x509.load_der_x509_certificate(leaf)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            shown = ", ".join(
                [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
            )
            issuer = certificate.issuer.rfc4514_string()
            until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    except InvalidCertificate:
        return "a certificate that cannot be read"
    return f"certificate for {_text(shown)}, from {_text(issuer)}, until {until}"


def _text(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:_MOST_TEXT])
