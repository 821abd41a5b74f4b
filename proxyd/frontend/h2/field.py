"""A header field of a request, with what it means: found out once, when it comes in, or enters HPACK's table."""

from operator import itemgetter
from typing import Final, NamedTuple

from proxyd.core.field_names import CLEAN, DROP, MALFORMED, PASS
from proxyd.core.request_scanner import REQUEST_FIELDS, TE, USER_AGENT
from proxyd.frontend.h2.static_table import STATIC

# Beside the actions of REQUEST_FIELDS: what only HTTP/2 has.
COOKIE: Final = 100
METHOD: Final = 101
SCHEME: Final = 102
AUTHORITY: Final = 103
PATH: Final = 104
PROTOCOL: Final = 105
PSEUDO: Final = range(METHOD, PROTOCOL + 1)

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


# By number, for by name they take a quarter more. PASS is 0: what is left when a list is filtered by it means more.
action_of: Final = itemgetter(Field._fields.index("action"))
line_of: Final = itemgetter(Field._fields.index("line"))
size_of: Final = itemgetter(Field._fields.index("size"))


class _Names(dict[bytes, tuple[int, bytes, int]]):
    """By a name: what to do with a field, how its line begins where it has one, and its size without a value.

    Found out once for each, within a bound.
    """

    _MOST_LEARNT = 2048
    _LONGEST_LEARNT = 48

    def __missing__(self, name: bytes) -> tuple[int, bytes, int]:
        action = _named(name)
        found = action, b"\r\n%b: " % name if action in (PASS, USER_AGENT) else b"", len(name) + OVERHEAD
        if len(name) <= self._LONGEST_LEARNT:
            if len(self) >= self._MOST_LEARNT:
                self.clear()
            self[name] = found
        return found


def _named(name: bytes) -> int:
    if name[:1] == b":":
        return _PSEUDO_FIELDS.get(name, MALFORMED)  # RFC 9113 §8.3
    if name == b"cookie":
        return COOKIE
    if name != name.lower() or name in _OF_CONNECTIONS:  # RFC 9113 §8.2, §8.2.2
        return MALFORMED
    return REQUEST_FIELDS[name]


_NAMES = _Names()
_new = tuple.__new__  # half of what the class itself takes


def field_of(name: bytes, value: bytes) -> Field:
    """Return the field with what it means."""
    action, start, size = _NAMES[name]
    size += len(value)
    if value.translate(CLEAN) != value or value.strip(b" \t") is not value:  # RFC 9113 §8.2.1
        return Field(MALFORMED, name, value, b"", size)
    if action == TE and value.lower() != b"trailers":  # RFC 9113 §8.2.2
        action = MALFORMED
    return _new(Field, (action, name, value, start + value if start else b"", size))


#: By their indices; there is no 0.
STATIC_FIELDS: Final = (Field(DROP, b"", b"", b"", 0), *(field_of(name, value) for name, value in STATIC))
