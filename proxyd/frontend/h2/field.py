"""A header field of a request, with what it means: found out once, when it comes in, or enters HPACK's table."""

from typing import Final, NamedTuple

from proxyd.core.field_names import DROP, IN_LINES, MALFORMED, PASS
from proxyd.core.request_scanner import REQUEST_FIELDS, TE, USER_AGENT
from proxyd.frontend.h2.static_table import STATIC

# Beside the actions of REQUEST_FIELDS: what only HTTP/2 has.
METHOD: Final = 101
SCHEME: Final = 102
AUTHORITY: Final = 103
PATH: Final = 104
PROTOCOL: Final = 105
COOKIE: Final = 106
PSEUDO: Final = range(METHOD, COOKIE)

_PSEUDO_FIELDS = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":authority": AUTHORITY,
    b":path": PATH,
    b":protocol": PROTOCOL,  # RFC 8441 §4
}
#: RFC 9113 §8.2.2: they mean a message that was not made for HTTP/2.
_OF_CONNECTIONS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
#: RFC 7541 §4.1
OVERHEAD: Final = 32


class Field(NamedTuple):
    """`action`: what to do with it. `line`: as an HTTP/1.1 upstream gets it, where it does, after a CRLF.

    `size`: by which tables and lists are measured (RFC 7541 §4.1, RFC 9113 §6.5.2).
    """

    action: int
    name: bytes
    value: bytes
    line: bytes
    size: int


def field_of(name: bytes, value: bytes) -> Field:
    """Return the field with what it means."""
    action = _action(name, value)
    line = b"\r\n%b: %b" % (name, value) if action in (PASS, USER_AGENT) else b""
    return Field(action, name, value, line, len(name) + len(value) + OVERHEAD)


def _action(name: bytes, value: bytes) -> int:
    if value.translate(None, IN_LINES) or value[:1] in (b" ", b"\t") or value[-1:] in (b" ", b"\t"):
        return MALFORMED  # RFC 9113 §8.2.1
    if name[:1] == b":":
        return _PSEUDO_FIELDS.get(name, MALFORMED)  # RFC 9113 §8.3
    if name == b"cookie":
        return COOKIE
    if name != name.lower() or name in _OF_CONNECTIONS:  # RFC 9113 §8.2, §8.2.2
        return MALFORMED
    action = REQUEST_FIELDS[name]
    if action == TE and value.lower() != b"trailers":  # RFC 9113 §8.2.2
        return MALFORMED
    return action


#: By their indices; there is no 0.
STATIC_FIELDS: Final = (Field(DROP, b"", b"", b"", 0), *(field_of(name, value) for name, value in STATIC))
