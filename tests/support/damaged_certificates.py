"""Certificates in which single bits or fields are wrong, so that libraries stumble over them late."""

import ssl
from collections.abc import Callable, Iterator

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
#: DER of what is replaced by what, in a leaf of the fake CA.
FIELDS = {
    "version": (bytes.fromhex("a003020102"), bytes.fromhex("a003020109")),
    "algorithm of the key": (bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072ac648ce3d0201")),
    "curve of the key": (bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d030106")),
    "extension twice": (bytes.fromhex("0603551d23"), bytes.fromhex("0603551d11")),
    "other extension twice": (bytes.fromhex("0603551d11"), bytes.fromhex("0603551d23")),
}


def replaced(pem: bytes, field: str) -> bytes:
    """Return PEM, whatever is around its first certificate, with one of that one's FIELDS replaced."""
    old, new = FIELDS[field]
    return _changed(pem, lambda der: der.replace(old, new, 1))


def negative(pem: bytes, serial: int) -> bytes:
    """Return PEM with the serial number of its first certificate made negative."""
    old = serial.to_bytes(serial.bit_length() // 8 + 1)
    return _changed(pem, lambda der: der.replace(old, bytes([old[0] | 0x80]) + old[1:], 1))


def wrongly_signed(pem: bytes) -> bytes:
    """Return PEM with one bit of the signature of its first certificate flipped."""
    return _changed(pem, lambda der: der[:-1] + bytes([der[-1] ^ 1]))


def _changed(pem: bytes, change: Callable[[bytes], bytes]) -> bytes:
    begin, end = pem.index(_BEGIN), pem.index(_END) + len(_END)
    der = ssl.PEM_cert_to_DER_cert(pem[begin:end].decode())
    changed = change(der)
    assert changed != der
    return pem[:begin] + ssl.DER_cert_to_PEM_cert(changed).strip().encode() + pem[end:]


def flipped(content: bytes) -> Iterator[bytes]:
    """Yield the bytes with each bit flipped in turn."""
    for place in range(len(content)):
        for bit in range(8):
            yield content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
