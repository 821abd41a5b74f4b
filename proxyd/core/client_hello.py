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
    reader = _Reader(body)
    reader.take(2 + 32)  # legacy_version, random
    reader.vector(1)  # legacy_session_id
    reader.vector(2)  # cipher_suites
    reader.vector(1)  # legacy_compression_methods
    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    seen: set[int] = set()
    extensions = reader.vector(2) if reader.left else b""
    position, end = 0, len(extensions)
    while position < end:  # a dozen of them, of which two matter
        if position + 4 > end:
            raise NotClientHello("a truncated ClientHello")
        kind, length = _EXTENSION.unpack_from(extensions, position)
        start, position = position + 4, position + 4 + length
        if position > end:
            raise NotClientHello("a truncated ClientHello")
        if kind in seen:
            raise NotClientHello("an extension twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            server_name = _parse_server_name(_Reader(extensions[start:position]))
        elif kind == _ALPN:
            protocols = _Reader(_Reader(extensions[start:position]).vector(2))
            names = []
            while protocols.left:
                names.append(protocols.vector(1))
            alpn = tuple(names)
    return ClientHello(server_name=server_name, alpn=alpn)


def _parse_server_name(content: "_Reader") -> str | None:
    names = _Reader(content.vector(2))
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:
            try:
                return name.decode("ascii")
            except UnicodeDecodeError:
                raise NotClientHello("a server name that is not ASCII") from None
    return None


class _Reader:
    """Takes TLS numbers and vectors off a byte string (RFC 8446 §3)."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise NotClientHello("a truncated ClientHello")
        self._position += count
        return self._data[self._position - count : self._position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))
