"""The header that a load balancer writes before the bytes of its client (PROXY protocol, versions 1 and 2)."""

import re
import struct
from typing import Final, NamedTuple

from proxyd.core.networks import address_of

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
#: "PROXY UNKNOWN" with two addresses of the longest form, and its CRLF.
_LONGEST_V1 = 107
_HEAD_V2 = 16
#: What follows the addresses are extensions that nothing here reads; 64 KiB of them would be a flood.
_LONGEST_V2 = _HEAD_V2 + 4096
MAX_BYTES: Final = _LONGEST_V2
#: No header is shorter, and so many tell which version it is.
FIRST_BYTES: Final = 8

_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_ADDRESSES = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}
_TEXT = re.compile(rb"(TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")
_PORTS = 65_536


#: What a program says that speaks for itself (version 2, LOCAL).
LOCAL: Final = _V2 + b"\x20\x00\x00\x00"


class NotProxyHeader(ValueError):
    """The bytes are no such header, or one that nobody should send here."""


class NeedMore(NamedTuple):
    """The header may go on: so many bytes are needed in all."""

    total: int


class ProxyHeader(NamedTuple):
    """A header of `length` bytes; without addresses the connection's own hold."""

    length: int
    source: str | None = None
    destination: str | None = None


def parse(data: bytes) -> ProxyHeader | NeedMore:
    """Return the header that `data` begins with. Raises NotProxyHeader."""
    if len(data) < FIRST_BYTES and (_V1.startswith(data[: len(_V1)]) or _V2.startswith(data)):
        return NeedMore(FIRST_BYTES)
    if data.startswith(_V2[: len(data)]):
        return _second(data)
    if data.startswith(_V1):
        return _first(data)
    raise NotProxyHeader("no PROXY header")


def _first(data: bytes) -> ProxyHeader | NeedMore:
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end < 0:
        if len(data) >= _LONGEST_V1:
            raise NotProxyHeader("a PROXY line without an end")
        return NeedMore(len(data) + 1)
    line = data[len(_V1) : end]
    if line == b"UNKNOWN" or line.startswith(b"UNKNOWN "):
        return ProxyHeader(end + 2)
    match = _TEXT.fullmatch(line)
    if match is None or int(match[4]) >= _PORTS or int(match[5]) >= _PORTS:
        raise NotProxyHeader("a PROXY line that cannot be read")
    is_v6 = match[1] == b"TCP6"
    return ProxyHeader(end + 2, _address(match[2].decode(), is_v6), _address(match[3].decode(), is_v6))


def _address(text: str, is_v6: bool) -> str:
    address = address_of(text)
    if address is None or (":" in text) is not is_v6:
        raise NotProxyHeader("a PROXY line with something else than addresses")
    return address.compressed


def _second(data: bytes) -> ProxyHeader | NeedMore:
    if len(data) < _HEAD_V2:
        return NeedMore(_HEAD_V2)
    command, family, size = struct.unpack_from("!BBH", data, len(_V2))
    length = _HEAD_V2 + size
    if command not in (_LOCAL, _PROXY) or length > _LONGEST_V2:
        raise NotProxyHeader("a PROXY header of another version, or too long")
    if len(data) < length:
        return NeedMore(length)
    if command == _LOCAL or family in (_UNSPECIFIED, _UNIX):
        return ProxyHeader(length)
    form = _ADDRESSES.get(family)
    if form is None or size < form.size:
        raise NotProxyHeader("a PROXY header for something else than TCP, or too short")
    source, destination, _, _ = form.unpack_from(data, _HEAD_V2)
    return ProxyHeader(length, _packed(source), _packed(destination))


def _packed(address: bytes) -> str:
    text = ".".join(map(str, address)) if len(address) == 4 else _colons(address)
    found = address_of(text)
    assert found is not None
    return found.compressed


def _colons(address: bytes) -> str:
    return ":".join(f"{word:x}" for word in struct.unpack("!8H", address))
