"""The first message of a TLS connection, as far as the choice of a certificate needs it (RFC 8446 §4.1.2)."""

from dataclasses import dataclass
from struct import Struct

#: More than this is no honest hello: with post-quantum key shares and ECH they stay under 4 KiB.
MAX_BYTES = 65_536
_MAX_RECORD = 16_384
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16
_EXTENSION = Struct(">HH")  # its kind, and the length of its content


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """What the client asked for: the raw server name (RFC 6066 §3) and its ALPN protocols (RFC 7301)."""

    server_name: str | None
    alpn: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The hello is not complete: look again when `total` bytes have arrived (counted from the first one)."""

    total: int


class NotClientHello(ValueError):
    """The bytes are not the start of a TLS handshake, or a malformed one."""


def parse(data: bytes) -> ClientHello | NeedMore:
    """Return the hello in `data`, a prefix of the connection's bytes, or how many bytes are needed to go on.

    A hello split over several records is put together (RFC 8446 §5.1). Raises NotClientHello.
    """
    message = bytearray()
    position = 0
    while True:
        if len(data) < position + 5:
            if data[position : position + 1] not in (b"", b"\x16"):
                raise NotClientHello("not a handshake record")
            return _need(position + 5)
        length = int.from_bytes(data[position + 3 : position + 5])
        if data[position] != _HANDSHAKE or data[position + 1] != 3 or not 0 < length <= _MAX_RECORD:
            raise NotClientHello("not a handshake record")
        if len(data) < position + 5 + length:
            return _need(position + 5 + length)
        message += data[position + 5 : position + 5 + length]
        position += 5 + length
        if message[0] != _CLIENT_HELLO:
            raise NotClientHello("not a ClientHello")
        if len(message) >= 4:
            end = 4 + int.from_bytes(message[1:4])
            if end > MAX_BYTES:
                raise NotClientHello("an oversized ClientHello")
            if len(message) >= end:
                return _parse_body(bytes(message[4:end]))


def _need(total: int) -> NeedMore:
    if total > MAX_BYTES:
        raise NotClientHello("an oversized ClientHello")
    return NeedMore(total)


def _parse_body(body: bytes) -> ClientHello:
    size = len(body)
    position = 2 + 32  # legacy_version, random
    for width in (1, 2, 1):  # legacy_session_id, cipher_suites, legacy_compression_methods
        _, position = _vector(body, position, size, width)
    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    seen: set[int] = set()
    position, end = _vector(body, position, size, 2) if position < size else (size, size)
    while position < end:  # a dozen of them, of which two matter
        if position + 4 > end:
            raise NotClientHello("a truncated ClientHello")
        kind, length = _EXTENSION.unpack_from(body, position)
        start, position = position + 4, position + 4 + length
        if position > end:
            raise NotClientHello("a truncated ClientHello")
        if kind in seen:
            raise NotClientHello("an extension twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            server_name = _parse_server_name(body, start, position)
        elif kind == _ALPN:
            alpn = _parse_alpn(body, start, position)
    return ClientHello(server_name=server_name, alpn=alpn)


def _parse_server_name(data: bytes, start: int, end: int) -> str | None:
    start, end = _vector(data, start, end, 2)
    while start < end:
        kind, (begin, start) = data[start], _vector(data, start + 1, end, 2)
        if kind == 0:
            try:
                return data[begin:start].decode("ascii")
            except UnicodeDecodeError:
                raise NotClientHello("a server name that is not ASCII") from None
    return None


def _parse_alpn(data: bytes, start: int, end: int) -> tuple[bytes, ...]:
    names = []
    start, end = _vector(data, start, end, 2)
    while start < end:
        begin, start = _vector(data, start, end, 1)
        names.append(data[begin:start])
    return tuple(names)


def _vector(data: bytes, start: int, end: int, width: int) -> tuple[int, int]:
    """Return where the content of the vector at `start` (RFC 8446 §3.4) begins and ends, which is before `end`.

    `width`: bytes of its length.
    """
    begin = start + width
    stop = begin + int.from_bytes(data[start:begin])
    if begin > end or stop > end:
        raise NotClientHello("a truncated ClientHello")
    return begin, stop
