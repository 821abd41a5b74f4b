"""What a proxy does to header fields (RFC 9110 §7.6.1, RFC 7239). Names and values are bytes, as on the wire."""

from collections.abc import Iterable

from proxyd.core.field_names import HOP_BY_HOP, OURS

Field = tuple[bytes, bytes]

_DROPPED = HOP_BY_HOP | {b"trailer"}


def nominated(fields: Iterable[Field]) -> frozenset[bytes]:
    """Return the names that any `Connection` line calls hop-by-hop, in lower case."""
    lines = (value for name, value in fields if name.lower() == b"connection")
    return frozenset(token for line in lines for part in line.split(b",") if (token := part.strip(b" \t").lower()))


def to_upstream(fields: Iterable[Field], *, client: str, host: bytes, proto: str, request_id: str) -> list[Field]:
    """Return the request fields for the upstream, without framing: kept ones in order, then ours."""
    received = list(fields)
    dropped = _DROPPED | OURS | nominated(received)
    kept = [(name, value) for name, value in received if not _dropped(name, dropped)]
    peer = f'"[{client}]"' if ":" in client else client
    quoted = host.replace(b"\\", b"").replace(b'"', b"")
    kept += [
        (b"X-Forwarded-For", client.encode()),
        (b"X-Forwarded-Proto", proto.encode()),
        (b"X-Forwarded-Host", host),
        (b"Forwarded", b'for=%b;host="%b";proto=%b' % (peer.encode(), quoted, proto.encode())),
        (b"X-Request-ID", request_id.encode()),
    ]
    return kept


def to_downstream(fields: Iterable[Field]) -> list[Field]:
    """Return the response fields for the client, without framing."""
    received = list(fields)
    dropped = _DROPPED | nominated(received)
    return [(name, value) for name, value in received if name.lower() not in dropped]


def _dropped(name: bytes, dropped: frozenset[bytes]) -> bool:
    # Many upstreams (CGI, WSGI) read X_Forwarded_For and X-Forwarded-For as the same variable.
    lower = name.lower()
    return lower != b"host" and (lower in dropped or lower.replace(b"_", b"-") in OURS)
