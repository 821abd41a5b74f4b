"""Who asks, behind how many proxies, and how the upstream is told (RFC 7239). Header lines are blocks: each line
follows a CRLF.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxyd.core.host_field import host_of
from proxyd.core.networks import Networks, address_of
from proxyd.core.request_scanner import Claims

_PROTOS = {b"http": b"http", b"https": b"https", b"ws": b"http", b"wss": b"https"}


class Asker(NamedTuple):
    """The client for which a request is made, and the addresses it came through since, our peer the last."""

    client: str
    through: tuple[str, ...]


def asker_of(peer: str, x_forwarded_for: Iterable[bytes], trusted: Networks) -> Asker:
    """Return who asks, by what trusted proxies say of it.

    From right to left: each address was written by the one to its right, so the first that is not trusted is the last
    that can be believed. What is left of it anybody may have made up.
    """
    client, through = peer, []
    written = b",".join(x_forwarded_for).split(b",")
    while written and trusted.has(client):
        address = _written_address(written.pop())
        if address is None:
            break
        through.append(client)
        client = address
    return Asker(client, tuple(reversed(through)))


def believed_proto(claims: Claims, otherwise: bytes) -> bytes:
    """Return the scheme that the client used, as the nearest proxy tells it."""
    last = _last(claims.x_forwarded_proto).lower()
    return _PROTOS.get(last, otherwise)


def believed_host(claims: Claims, otherwise: bytes) -> bytes:
    """Return the authority that the client used, as the nearest proxy tells it."""
    last = _last(claims.x_forwarded_host)
    return last if host_of(last) is not None else otherwise


def forwarded_lines(*, client: str, host: bytes, proto: bytes, through: Sequence[str] = ()) -> bytes:
    """Return the lines that tell the upstream who asks for what: what the client wrote under these names is dropped."""
    chain = [client.encode(), *(one.encode() for one in through)]
    first, *others = [b'"[%b]"' % one if b":" in one else one for one in chain]
    return (
        b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b"
        b'\r\nForwarded: for=%b;host="%b";proto=%b%b'
        % (b", ".join(chain), proto, host, first, host, proto, b"".join(b", for=%b" % one for one in others))
    )


def _last(values: tuple[bytes, ...]) -> bytes:
    return values[-1].rpartition(b",")[2].strip(b" \t") if values else b""


def _written_address(written: bytes) -> str | None:
    """Return the address in an element of X-Forwarded-For; some proxies add the port, or brackets."""
    text = written.strip(b' \t"').decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = address_of(text)
    return None if address is None else address.compressed
