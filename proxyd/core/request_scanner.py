"""The head of an HTTP/1.1 request, strictly (RFC 9112 §3, §5, §6): whatever two readers could understand in two ways
is malformed. Header lines stay a block of bytes: what goes to the upstream is what the client wrote.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from proxyd.core.body_length import CHUNKED, NO_BODY, content_length
from proxyd.core.counters import Limit
from proxyd.core.field_names import (
    CLEAN,
    DROP,
    HOP_BY_HOP,
    MALFORMED,
    OURS,
    PERSISTENCE,
    FieldTable,
    connection_options,
    is_nominated,
    is_token,
)
from proxyd.core.host_field import host_of

#: The request line: method and target as written, version 10 or 11.
RequestLine = tuple[bytes, bytes, int]


class MalformedRequest(ValueError):
    """The request is refused and its connection closed; `status` is the answer, the text is for the log.

    `limit`: the one that it is over.
    """

    def __init__(self, message: str, status: int = 400, limit: Limit | None = None) -> None:
        super().__init__(message)
        self.status, self.limit = status, limit


class Claims(NamedTuple):
    """What only a trusted proxy may say: the values as written, one for each line."""

    x_forwarded_for: tuple[bytes, ...] = ()
    x_forwarded_proto: tuple[bytes, ...] = ()
    x_forwarded_host: tuple[bytes, ...] = ()


@dataclass(slots=True)
class RequestBlock:
    """What a block of header lines says to us. It depends on the block's bytes alone, and so may be cached by them.

    Nobody changes one: it is not frozen because that doubles what it takes to make one.
    """

    authority: bytes
    body: int
    #: "Content-Length: 0" was written.
    length_zero: bool
    closes: bool
    keeps: bool
    #: A body waits for 100 (Continue).
    expects_continue: bool
    #: The protocols that the client would change to; empty when it has a body to send first.
    upgrade: bytes
    accepts_trailers: bool
    claims: Claims
    user_agent: bytes


HOST: Final = 2
CONNECTION: Final = 3
USER_AGENT: Final = 4
LENGTH: Final = 5
CODING: Final = 6
EXPECT: Final = 7
UPGRADE: Final = 8
TE: Final = 9
FORWARDED_FOR: Final = 10
FORWARDED_PROTO: Final = 11
FORWARDED_HOST: Final = 12
#: What to do with each field of a request, in any HTTP version.
REQUEST_FIELDS: Final = FieldTable(
    dict.fromkeys(HOP_BY_HOP | OURS, DROP)
    | {b"host": HOST, b"connection": CONNECTION, b"user-agent": USER_AGENT, b"content-length": LENGTH}
    | {b"transfer-encoding": CODING, b"expect": EXPECT, b"upgrade": UPGRADE, b"te": TE}
    | {b"x-forwarded-for": FORWARDED_FOR, b"x-forwarded-proto": FORWARDED_PROTO, b"x-forwarded-host": FORWARDED_HOST},
    aliases=HOP_BY_HOP | OURS,
)
#: Changes what may not stand in a request target (RFC 9112 §3.2): space, control characters, a fragment. Others that
#: RFC 3986 wants escaped, non-ASCII too, are passed on as they are: there is one way to read them, and clients send
#: them.
_CLEAN_TARGET = bytes(0x21 if byte in b"#\x7f" or byte <= 0x20 else byte for byte in range(256))
#: Asked for all the time; any other that looks like one passes as well: what it means is for the upstream to know.
_USUAL_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"})
_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}")
#: Not for a reverse proxy (RFC 9110 §9.3.6, §9.3.8).
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
#: Up to so many lines are searched for one by one when they go.
_FEW = 8
_VERSIONS = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}
_VERSION = re.compile(rb"HTTP/[0-9](\.[0-9])?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?]*)(.*)", re.DOTALL)
_NO_CLAIMS = Claims()
#: Inside these a client would speak HTTP to the upstream past every rule of ours ("h2c smuggling").
_HTTP_AGAIN = frozenset({b"h2c", b"h2", b"http", b"tls"})


def scan_line(line: bytes, *, max_target: int = 8192) -> RequestLine:
    """Return the parts of a request line, given without its CRLF (RFC 9112 §3). Raises MalformedRequest."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise MalformedRequest("not a request line")
    method, target, version = parts
    number = _VERSIONS.get(version)
    if number is None:
        known = _VERSION.fullmatch(version) is not None
        raise MalformedRequest("an HTTP version that is not spoken here", 505 if known else 400)
    check_line(method, target, max_target=max_target)
    return method, target, number


def check_line(method: bytes, target: bytes, *, max_target: int) -> None:
    """Raise MalformedRequest where a method is not served, or a target has bytes that none may have."""
    if method not in _USUAL_METHODS and (method in _REFUSED_METHODS or _METHOD.fullmatch(method) is None):
        is_one = is_token(method)
        raise MalformedRequest("a method that is not served" if is_one else "no method", 501 if is_one else 400)
    if len(target) > max_target:
        raise MalformedRequest("the request target is too long", 414, "max_uri")
    if not target or target.translate(_CLEAN_TARGET) != target:
        raise MalformedRequest("the request target has bytes that must be escaped")


def scan_block(block: bytes, *, max_count: int) -> tuple[RequestBlock, bytes]:
    """Return what a block of header lines says (RFC 9112 §5), and the lines for the upstream. Raises MalformedRequest.

    Those are as written, without `Host`, hop-by-hop fields, framing and what is ours.

    The block starts with the CRLF that ends the request line and ends before the CRLF of its last line: every line in
    it follows a CRLF.
    """
    lines = block.split(b"\r\n")
    count = len(lines) - 1
    if count > max_count:
        raise MalformedRequest("too many header lines", 431, "max_header_count")
    text = b"".join(lines)
    if lines[0] or text.translate(CLEAN) != text:
        raise MalformedRequest("a control character or a bare line end in the header")
    authority = user_agent = length = coding = None
    closes = keeps = expects = trailers = False
    nominated: set[bytes] = set()
    upgrades: list[bytes] = []
    claimed: list[tuple[int, bytes]] = []
    dropped: list[bytes] = []
    rest = iter(lines)
    next(rest)
    for line in rest:
        name, colon, value = line.partition(b":")
        action = REQUEST_FIELDS[name]
        if colon and not action:
            continue
        if not colon or action == MALFORMED:
            raise MalformedRequest("a header line without a proper name")
        value = value.strip(b" \t")
        if action == USER_AGENT:
            user_agent = value
            continue
        dropped.append(line)
        if action == HOST:
            if authority is not None:
                raise MalformedRequest("more than one Host")
            authority = value
        elif action == CONNECTION:
            if value == b"keep-alive":  # what browsers write, all of them
                keeps = True
                continue
            nominated |= connection_options(value)
        elif action == LENGTH:
            if length is not None:
                raise MalformedRequest("more than one Content-Length")
            length = value
        elif action == CODING:
            if coding is not None:
                raise MalformedRequest("more than one Transfer-Encoding")
            coding = value
        elif action == EXPECT:
            check_expectation(value)
            expects = True
        elif action == UPGRADE:
            upgrades.append(value)
        elif action == TE:
            trailers = trailers or _has_trailers(value)
        elif action != DROP:
            claimed.append((action, value))
    if authority is None or host_of(authority) is None:
        raise MalformedRequest("no Host" if authority is None else "Host is not a host name")
    body = NO_BODY if length is None and coding is None else _body(length, coding)
    if nominated:
        closes, keeps = b"close" in nominated, keeps or b"keep-alive" in nominated
        nominated -= PERSISTENCE
    if len(dropped) > _FEW:
        gone = set(dropped)
        lines = [line for line in lines if line not in gone]
    else:
        for line in dropped:
            lines.remove(line)  # equal lines have the same fate, whichever goes first
    upgrade = b""
    if nominated:
        if upgrades and body == NO_BODY and b"upgrade" in nominated:
            upgrade = _offered(upgrades)
        lines = [line for line in lines if not is_nominated(line, nominated)]
    said = RequestBlock(
        authority,
        body,
        length is not None and body == NO_BODY,
        closes,
        keeps,
        expects and body != NO_BODY,
        upgrade,
        trailers,
        claims_of(claimed),
        user_agent or b"",
    )
    return said, b"\r\n".join(lines)


def check_expectation(value: bytes) -> None:
    """Raise MalformedRequest when nobody can meet it (RFC 9110 §10.1.1)."""
    if value.lower() != b"100-continue":
        raise MalformedRequest("an expectation that cannot be met", 417)


def target_path(line: RequestLine, block: RequestBlock) -> tuple[bytes, bytes]:
    """Return the target for the upstream and the authority (RFC 9112 §3.2). Raises MalformedRequest.

    To be asked for every request: here is what the line and the block must agree on. Nothing is normalised.
    """
    method, target, version = line
    if version == 10 and block.body == CHUNKED:  # RFC 9112 §6.1: who forwarded it may not have understood it
        raise MalformedRequest("Transfer-Encoding in HTTP/1.0")
    if target[0] == 0x2F:
        return target, block.authority
    if target == b"*" and method == b"OPTIONS":
        return target, block.authority
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise MalformedRequest("the request target is neither a path nor a URL")
    if absolute[1].lower() != block.authority.lower():
        raise MalformedRequest("the request target names another host than Host")
    path = absolute[2]
    if not path and method == b"OPTIONS":  # RFC 9112 §3.2.4
        return b"*", block.authority
    return path if path.startswith(b"/") else b"/" + path, block.authority


def is_plain(version: int, block: RequestBlock) -> bool:
    """Return whether the request needs nothing but to be forwarded."""
    return version == 11 and not block.expects_continue and not block.upgrade


def keeps_open(version: int, block: RequestBlock) -> bool:
    """Return whether the client expects to use the connection again (RFC 9112 §9.3)."""
    return not block.closes and (version == 11 or block.keeps)


def as_of_http_1_0(block: RequestBlock) -> RequestBlock:
    """Return the block without what is not heard when HTTP/1.0 asks for it (RFC 9110 §7.8, §10.1.1)."""
    if not block.upgrade and not block.expects_continue:
        return block
    return replace(block, upgrade=b"", expects_continue=False)


def _body(length: bytes | None, coding: bytes | None) -> int:
    if coding is not None:
        if length is not None:
            raise MalformedRequest("both Content-Length and Transfer-Encoding")
        lower = coding.lower()
        if lower == b"chunked":
            return CHUNKED
        *others, last = (part.strip(b" \t") for part in lower.split(b","))
        understood = last == b"chunked" and b"chunked" not in others and all(map(is_token, others))
        raise MalformedRequest("a transfer coding that is not spoken here", 501 if understood else 400)
    assert length is not None
    try:
        return content_length(length)
    except ValueError as error:
        raise MalformedRequest(str(error)) from None


def _has_trailers(te: bytes) -> bool:
    return any(part.strip(b" \t") == b"trailers" for part in te.lower().split(b","))


def _offered(upgrades: list[bytes]) -> bytes:
    """Return the protocols of RFC 9110 §7.8 that may be tunnelled, as one list."""
    parts = (part.strip(b" \t") for line in upgrades for part in line.split(b","))
    return b", ".join(part for part in parts if _may_be_tunnelled(part))


def _may_be_tunnelled(protocol: bytes) -> bool:
    name, slash, version = protocol.partition(b"/")
    return is_token(name) and name.lower() not in _HTTP_AGAIN and (not slash or is_token(version))


def claims_of(claimed: list[tuple[int, bytes]]) -> Claims:
    """Return the values of the fields that only a trusted proxy may send, given with what is to be done with them."""
    if not claimed:
        return _NO_CLAIMS

    def values(wanted: int) -> tuple[bytes, ...]:
        return tuple(value for action, value in claimed if action == wanted)

    return Claims(values(FORWARDED_FOR), values(FORWARDED_PROTO), values(FORWARDED_HOST))
