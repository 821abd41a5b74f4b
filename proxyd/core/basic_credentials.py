"""User name and password of a request (RFC 7617)."""

import re
from base64 import b64decode
from binascii import Error
from typing import Final, NamedTuple

#: Nobody types more, and it is hashed as a whole.
_LONGEST: Final = 4096
_FIELD = b"\r\nauthorization:"
_SCHEME = re.compile(rb"(?i)[ \t]*basic +([A-Za-z0-9+/=]+)[ \t]*")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Credentials(NamedTuple):
    """As bytes, UTF-8 where the client does as it is told. What shows it shows no password."""

    name: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(…)"


def credentials_of(block: bytes) -> Credentials | None:
    """Return those in a block of header lines, each after a CRLF; None: there are none, or several, or no good ones."""
    lower = block.lower()
    start = lower.find(_FIELD)
    if start < 0 or lower.find(_FIELD, start + 1) >= 0:
        return None
    start += len(_FIELD)
    end = block.find(b"\r\n", start)
    found = _SCHEME.fullmatch(block, start, len(block) if end < 0 else end)
    if found is None or len(found[1]) > _LONGEST:
        return None
    try:
        name, colon, password = b64decode(found[1], validate=True).partition(b":")
    except Error:
        return None
    return Credentials(name, password) if colon and not _CONTROL.search(name + password) else None
