"""The value of `Host` (RFC 9110 §7.2): a name or an address, perhaps with a port. Nothing else is served."""

import re
from functools import lru_cache

from proxyd.core.hostname import Hostname

_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_LONGEST = 264  # a name of 253 characters with its final dot, a colon, five digits; bounds the cache too


def host_of(authority: bytes) -> Hostname | None:
    """Return whom the authority names, or None when it is malformed."""
    return _host_of(authority) if len(authority) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _host_of(authority: bytes) -> Hostname | None:
    match = _AUTHORITY.fullmatch(authority)
    if match is None or int(match[2] or 0) > 65_535:
        return None
    return Hostname.from_wire(match[1].decode())
