"""From the fields of an HTTP/2 request to a request head, as an HTTP/1.1 client's would be (RFC 9113 §8.3, RFC 8441).

What two readers could understand in two ways ends here: the upstream speaks HTTP/1.1, and sees only what core's rules
for that let pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from proxyd.core.body_length import CHUNKED, NO_BODY, content_length
from proxyd.core.chunked_body import MalformedBody, kept_trailer
from proxyd.core.field_names import DROP, MALFORMED
from proxyd.core.host_field import host_of
from proxyd.core.request_head import RequestHead
from proxyd.core.request_scanner import (
    EXPECT,
    HOST,
    LENGTH,
    TE,
    USER_AGENT,
    MalformedRequest,
    RequestBlock,
    check_expectation,
    check_line,
    claims_of,
)
from proxyd.frontend.h2.fault import StreamFault
from proxyd.frontend.h2.field import (
    AUTHORITY,
    COOKIE,
    METHOD,
    PATH,
    PROTOCOL,
    PSEUDO,
    SCHEME,
    Field,
    action_of,
    line_of,
)
from proxyd.frontend.h2.frames import PROTOCOL_ERROR
from proxyd.frontend.head_reader import UNREADABLE

_VERSION: Final = 20
_SCHEMES = frozenset({b"https", b"http"})
#: A request of these has content by what it means, so that none at all is said (RFC 9110 §8.6).
_WITH_CONTENT = frozenset({b"POST", b"PUT", b"PATCH"})
_WEBSOCKET = b"websocket"
_KEY = b"sec-websocket-key"
#: (authority, body, length_zero, expects_continue, upgrade, accepts_trailers, claimed, user_agent)
_Said = tuple[bytes, int, bool, bool, bytes, bool, list[tuple[int, bytes]], bytes]


class RequestReader:
    """Of one connection: what one request says besides its path the next one mostly says too."""

    __slots__ = ("_block", "_said", "max_target")

    def __init__(self, *, max_target: int) -> None:
        self.max_target = max_target
        self._said: _Said | None = None
        self._block = UNREADABLE.block

    def read(self, fields: Sequence[Field], *, ends: bool) -> RequestHead:
        """Return the head; `ends`: nothing follows it. Raises StreamFault, MalformedRequest."""
        pseudo: dict[int, bytes] = {}
        claimed: list[tuple[int, bytes]] = []
        cookie = host = length = None
        agent = b""
        count = 0  # of pseudo-header fields
        expects = trailers = False
        for field in filter(action_of, fields):
            action, _, value, _, _ = field
            if action >= METHOD:  # in PSEUDO
                if field is not fields[count] or action in pseudo:  # RFC 9113 §8.3
                    raise StreamFault(PROTOCOL_ERROR, "pseudo-header fields twice, or after others")
                pseudo[action] = value
                count += 1
            elif action == USER_AGENT:
                agent = value
            elif action == COOKIE:  # RFC 9113 §8.2.3
                cookie = value if cookie is None else cookie + b"; " + value
            elif action == MALFORMED:
                raise StreamFault(PROTOCOL_ERROR, "a field that is malformed, or not for HTTP/2")
            elif action == LENGTH:
                if length is not None:
                    raise StreamFault(PROTOCOL_ERROR, "more than one content-length")
                length = value
            elif action == HOST:
                if host is not None:
                    raise StreamFault(PROTOCOL_ERROR, "more than one host")
                host = value
            elif action == TE:
                trailers = True
            elif action == EXPECT:
                check_expectation(value)
                expects = True
            elif action != DROP:
                claimed.append((action, value))
        kept = b"".join(map(line_of, fields))
        method, path = pseudo.get(METHOD), pseudo.get(PATH)
        upgrade = b""
        if method == b"CONNECT" or PROTOCOL in pseudo:
            method, upgrade = _connects(pseudo, ends=ends, length=length)
            kept = b"".join([one.line for one in fields if one.name != _KEY])  # RFC 8441 §5: ours is another
        if cookie is not None:
            kept += b"\r\ncookie: " + cookie
        if not method or not path or SCHEME not in pseudo:  # RFC 9113 §8.3.1
            raise StreamFault(PROTOCOL_ERROR, "a pseudo-header field is missing")
        self._check(method, path, pseudo[SCHEME])
        authority = _authority(pseudo.get(AUTHORITY), host)
        body, is_zero = NO_BODY, False
        if not upgrade:
            body, is_zero = _body(method, length, ends=ends)
        said = authority, body, is_zero, expects and body != NO_BODY, upgrade, trailers, claimed, agent
        if said != self._said:
            self._said = said
            self._block = RequestBlock(
                authority, body, is_zero, False, False, said[3], upgrade, trailers, claims_of(claimed), agent
            )
        return RequestHead(method, path, path, authority, _VERSION, self._block, kept)

    def _check(self, method: bytes, path: bytes, scheme: bytes) -> None:
        check_line(method, path, max_target=self.max_target)
        if path[0] != 0x2F and (path != b"*" or method != b"OPTIONS"):
            raise MalformedRequest("the path is none")
        if scheme not in _SCHEMES:
            raise MalformedRequest("a scheme that is not served")


def unreadable(fields: Iterable[Field]) -> RequestHead:
    """Return what stands for a request that is refused; that its answer to HEAD has no body is to be known."""
    is_head = any(one.action == METHOD and one.value == b"HEAD" for one in fields)
    return replace(UNREADABLE, method=b"HEAD" if is_head else b"", version=_VERSION)


def trailer_lines(fields: Iterable[Field]) -> bytes:
    """Return trailers as an HTTP/1.1 upstream gets them (RFC 9113 §8.1). Raises StreamFault."""
    lines = []
    for action, name, value, _, _ in fields:
        if action == MALFORMED or action in PSEUDO:
            raise StreamFault(PROTOCOL_ERROR, "a trailer that is malformed, or not for HTTP/2")
        try:
            lines.append(kept_trailer(b"%b: %b" % (name, value)))
        except MalformedBody as error:
            raise StreamFault(PROTOCOL_ERROR, str(error)) from None
    return b"".join(lines)


def _connects(pseudo: dict[int, bytes], *, ends: bool, length: bytes | None) -> tuple[bytes, bytes]:
    """Return the method and the protocol that an upstream is asked for instead of CONNECT (RFC 8441 §4, §5)."""
    protocol = pseudo.get(PROTOCOL)
    if protocol is None:  # RFC 9113 §8.5: not for a reverse proxy
        raise MalformedRequest("a method that is not served", 501)
    if pseudo.get(METHOD) != b"CONNECT":
        raise StreamFault(PROTOCOL_ERROR, ":protocol without CONNECT")
    if protocol.lower() != _WEBSOCKET:
        raise MalformedRequest("a protocol that is not tunnelled", 501)
    if ends or length is not None:
        raise StreamFault(PROTOCOL_ERROR, "a tunnel that is over before it begins")
    return b"GET", _WEBSOCKET


def _authority(authority: bytes | None, host: bytes | None) -> bytes:
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():  # RFC 9113 §8.3.1
        raise MalformedRequest("host is not :authority")
    if authority is None or host_of(authority) is None:
        raise MalformedRequest("no authority" if authority is None else ":authority is not a host name")
    return authority


def _body(method: bytes, length: bytes | None, *, ends: bool) -> tuple[int, bool]:
    """Return how long the body is, and whether that it is empty was said (RFC 9113 §8.1.1)."""
    if length is None:
        return (NO_BODY, method in _WITH_CONTENT) if ends else (CHUNKED, False)
    try:
        size = content_length(length)
    except ValueError as error:
        raise StreamFault(PROTOCOL_ERROR, str(error)) from None
    if ends and size:
        raise StreamFault(PROTOCOL_ERROR, "content-length of a body that does not come")
    return size, not size
