"""The validating half of the fake CA: it looks, and believes only what the RFCs say. All names are 127.0.0.1."""

import asyncio
import hashlib
import ssl

from cryptography import x509

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_SECONDS = 5.0


async def http_01(name: str, port: int, token: str, key_authorization: str) -> str | None:
    """Return what is wrong with the answer on port 80, or None (RFC 8555 §8.3)."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                host = f"[{name}]" if ":" in name else name
                target = f"/.well-known/acme-challenge/{token}"
                writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read(1 << 16)
            finally:  # a stop of the CA comes in the middle
                writer.transport.abort()
    except (OSError, TimeoutError) as error:
        return f"connection: {error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return f"unauthorized: {head[:40].decode('latin-1')}"
    return None if body.decode("latin-1").rstrip() == key_authorization else "unauthorized: wrong key authorization"


async def tls_alpn_01(server_name: str, name: str, port: int, key_authorization: str) -> str | None:
    """Return what is wrong with the certificate on port 443, or None (RFC 8737 §3)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_name)
            try:
                tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
                protocol, shown = tls.selected_alpn_protocol(), tls.getpeercert(binary_form=True)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError) as error:
        return f"connection: {error}"
    if protocol != "acme-tls/1" or shown is None:
        return "unauthorized: acme-tls/1 was not negotiated"
    certificate = x509.load_der_x509_certificate(shown)
    alternatives = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    if [str(one.value) for one in alternatives] != [name] or certificate.issuer != certificate.subject:
        return "unauthorized: not one self-signed name"
    extension = certificate.extensions.get_extension_for_oid(_ACME_IDENTIFIER)
    digest = hashlib.sha256(key_authorization.encode()).digest()
    value = extension.value.value if isinstance(extension.value, x509.UnrecognizedExtension) else b""
    return None if extension.critical and value == b"\x04\x20" + digest else "unauthorized: wrong acmeIdentifier"
