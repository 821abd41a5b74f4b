"""The head of an HTTP/1.1 response, strictly (RFC 9112 §4, §5, §6): an upstream is as little trusted as a client."""

from dataclasses import dataclass, field
from typing import Final

from proxyd.core.body_length import CHUNKED, NO_BODY, UNTIL_CLOSE, content_length
from proxyd.core.field_names import (
    CLEAN,
    DROP,
    HOP_BY_HOP,
    MALFORMED,
    PERSISTENCE,
    FieldTable,
    connection_options,
    is_nominated,
)


class MalformedResponse(ValueError):
    """The upstream's answer cannot be passed on."""


@dataclass(slots=True)
class ResponseHead:
    """What the head says.

    `kept` are the header lines for the client, as written, without hop-by-hop fields and framing. `body` is what the
    framing fields say; that HEAD, 1xx, 204 and 304 have none is for the caller to know (`UNTIL_CLOSE`: no field says).
    """

    status: int
    reason: bytes
    kept: bytes = field(repr=False)
    body: int
    #: The upstream will not answer again on this connection.
    closes: bool
    #: Seconds that the upstream keeps an idle connection, where it says so.
    idle: float | None
    upgrade: bytes
    has_date: bool
    version: int


_CONNECTION: Final = 3
_LENGTH: Final = 5
_CODING: Final = 6
_UPGRADE: Final = 8
_DATE: Final = 9
_KEEP_ALIVE: Final = 10
_ACTIONS = FieldTable(
    dict.fromkeys(HOP_BY_HOP, DROP)
    | {b"connection": _CONNECTION, b"content-length": _LENGTH, b"transfer-encoding": _CODING, b"upgrade": _UPGRADE}
    | {b"date": _DATE, b"keep-alive": _KEEP_ALIVE},
)
_VERSIONS = {b"HTTP/1.1 ": 11, b"HTTP/1.0 ": 10}


def scan_response(head: bytes) -> ResponseHead:
    """Return what a head says, given without the CRLFCRLF at its end. Raises MalformedResponse."""
    lines = head.split(b"\r\n")
    text = b"".join(lines)
    if text.translate(CLEAN) != text:
        raise MalformedResponse("a control character or a bare line end in the header")
    start = lines[0]
    version = _VERSIONS.get(start[:9])
    code = start[9:12]
    if version is None or not code.isdigit() or code < b"100" or len(code) != 3 or start[12:13] not in (b"", b" "):
        raise MalformedResponse("not a status line")
    length = coding = idle = None
    closes = keeps = has_date = False
    nominated: set[bytes] = set()
    upgrades: list[bytes] = []
    dropped: list[bytes] = []
    rest = iter(lines)
    next(rest)
    for line in rest:
        name, colon, value = line.partition(b":")
        action = _ACTIONS[name]
        if colon and not action:
            continue
        if not colon or action == MALFORMED:
            raise MalformedResponse("a header line without a proper name")
        if action == _DATE:
            has_date = True
            continue
        dropped.append(line)
        value = value.strip(b" \t")
        if action == _LENGTH:
            if length is not None:
                raise MalformedResponse("more than one Content-Length")
            length = value
        elif action == _CODING:
            if coding is not None or value.lower() != b"chunked":
                raise MalformedResponse("a transfer coding that is not spoken here")
            coding = value
        elif action == _CONNECTION:
            nominated |= connection_options(value)
        elif action == _UPGRADE:
            upgrades.append(value)
        elif action == _KEEP_ALIVE:
            idle = _timeout(value)
    if nominated:
        closes, keeps = b"close" in nominated, b"keep-alive" in nominated
        nominated -= PERSISTENCE
    lines[0] = b""
    for line in dropped:
        lines.remove(line)
    if nominated:
        lines = [line for line in lines if not is_nominated(line, nominated)]
    status = int(code)
    body = UNTIL_CLOSE if length is None and coding is None else _body(length, coding, version)
    if body not in (UNTIL_CLOSE, NO_BODY) and (status == 204 or status < 200):  # RFC 9110 §8.6, RFC 9112 §6.1
        if status not in (101, 204):
            raise MalformedResponse("an informational response with a body")
        closes = True  # should that body come, it would be read as the next response
    if status == 101 and not any(upgrades):  # RFC 9110 §7.8
        raise MalformedResponse("a change of protocols to none")
    return ResponseHead(
        status,
        start[13:],
        b"\r\n".join(lines),
        body,
        closes or (version == 10 and not keeps),
        idle,
        b", ".join(upgrades),
        has_date,
        version,
    )


def _body(length: bytes | None, coding: bytes | None, version: int) -> int:
    if coding is not None:
        if length is not None:
            raise MalformedResponse("both Content-Length and Transfer-Encoding")
        if version == 10:
            raise MalformedResponse("Transfer-Encoding in HTTP/1.0")
        return CHUNKED
    assert length is not None
    try:
        return content_length(length)
    except ValueError as error:
        raise MalformedResponse(str(error)) from None


def _timeout(keep_alive: bytes) -> float | None:
    for part in keep_alive.lower().split(b","):
        name, _, value = part.partition(b"=")
        seconds = value.strip(b' \t"')
        if name.strip(b" \t") == b"timeout" and seconds.isdigit() and len(seconds) <= 9:
            return float(seconds)
    return None
