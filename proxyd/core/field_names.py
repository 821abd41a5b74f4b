"""What the names of header fields mean to a proxy (RFC 9110 §7.6.1, RFC 7239). Names are bytes in lower case."""

import re
from collections.abc import Container, Iterable, Mapping
from typing import Final

#: Meaningful for one connection only; framing fields are written anew for the next one.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"expect",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"http2-settings",
    }
)
#: What `Connection` says of the connection itself (RFC 9112 §9.3): no name of a field.
PERSISTENCE: Final = frozenset({b"close", b"keep-alive"})
#: Ours to say, or nobody's: what the client sent under these names, which frameworks believe, is dropped.
OURS: Final = frozenset(
    {
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-server",
        b"x-forwarded-by",
        b"x-forwarded-protocol",
        b"x-forwarded-scheme",
        b"x-forwarded-ssl",
        b"x-forwarded-prefix",
        b"forwarded",
        b"x-request-id",
        b"x-real-ip",
        b"client-cert",
        b"client-cert-chain",
    }
)
#: They decide where a message ends: another spelling of them is an attack.
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ALIAS = bytes.maketrans(b"_.", b"--")
_END_TO_END = frozenset(
    {b"age", b"allow", b"authorization", b"cache-control", b"cookie", b"date", b"etag", b"expires", b"host"}
    | {b"last-modified", b"location", b"origin", b"pragma", b"range", b"referer", b"retry-after", b"server"}
    | {b"set-cookie", b"strict-transport-security", b"trailer", b"user-agent", b"vary", b"via", b"www-authenticate"}
)
_END_TO_END_PREFIXES = (b"accept", b"access-control-", b"content-", b"if-", b"sec-")

#: `line.translate(CLEAN)` changes all but HTAB, visible ASCII with space, obs-text (RFC 9110 §5.5): a good line stays
#: as it is. To take those away instead takes three times as long.
CLEAN: Final = bytes(byte if byte == 0x09 or (byte >= 0x20 and byte != 0x7F) else 0x21 for byte in range(256))

PASS: Final = 0
MALFORMED: Final = -1
DROP: Final = 1


def is_token(name: bytes) -> bool:
    """Return whether it is a token (RFC 9110 §5.6.2), as names of fields and methods are."""
    return _TOKEN.fullmatch(name) is not None


def without_aliases(name: bytes) -> bytes:
    """Return the name in the one spelling that `_` and `.` may stand for.

    CGI, WSGI and PHP read X_Forwarded_For, X.Forwarded.For and X-Forwarded-For as the same variable.
    """
    return name.lower().translate(_ALIAS)


def is_end_to_end(name: bytes) -> bool:
    """Return whether `Connection` cannot make the field hop-by-hop (RFC 9110 §7.6.1: such nominations are faults).

    Heeding them would let a client, or whoever adds to its header, take the Cookie off a request.
    """
    return name in _END_TO_END or name.startswith(_END_TO_END_PREFIXES)


def connection_options(value: bytes) -> set[bytes]:
    """Return what a Connection line lists, in lower case (RFC 9110 §7.6.1)."""
    return {option for part in value.lower().split(b",") if (option := part.strip(b" \t"))}


def is_nominated(line: bytes, nominated: Container[bytes]) -> bool:
    """Return whether `Connection` makes the field of a line hop-by-hop; `nominated`: what it names, in lower case."""
    name = line.partition(b":")[0].lower()
    return name in nominated and not is_end_to_end(name)


class FieldTable(dict[bytes, int]):
    """What to do with a field, by its name as written: looking up a name that was seen before is one dict access.

    It learns spellings within a bound; a flood of new ones only makes it learn the usual ones again.
    """

    _MOST_LEARNT = 2048
    _LONGEST_LEARNT = 48

    def __init__(self, actions: Mapping[bytes, int], *, aliases: Iterable[bytes] = ()) -> None:
        super().__init__()
        self._actions = dict(actions)
        self._aliases = frozenset(aliases)

    def __missing__(self, name: bytes) -> int:
        action = self._action(name)
        if len(name) <= self._LONGEST_LEARNT:
            if len(self) >= self._MOST_LEARNT:
                self.clear()
            self[name] = action
        return action

    def _action(self, name: bytes) -> int:
        if not is_token(name):
            return MALFORMED
        lower = name.lower()
        if (action := self._actions.get(lower)) is not None:
            return action
        meant = without_aliases(lower)
        if meant == lower:
            return PASS
        if meant in FRAMING:
            return MALFORMED
        return DROP if meant in self._aliases else PASS
