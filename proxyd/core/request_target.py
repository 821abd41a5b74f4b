"""Which host and path a request is for (RFC 9112 §3.2)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from proxyd.core.hostname import Hostname

Field = tuple[bytes, bytes]

_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?\Z")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)\Z", re.DOTALL)
#: What may stand in a path and query unescaped; a space or control character would split the request line.
_PATH = re.compile(rb"[\x21-\x7e\x80-\xff]+\Z")


class InvalidTarget(ValueError):
    """The request has no host or path that could be served; `status` is the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTarget:
    """Host (parsed), authority (as written, with port) and path with query (bytes as written)."""

    host: Hostname
    authority: bytes
    path: bytes

    @classmethod
    def parse(cls, method: str, target: bytes, fields: Iterable[Field]) -> "RequestTarget":
        """Return the target of a request with exactly one Host. Raises InvalidTarget."""
        if method == "CONNECT":
            raise InvalidTarget(501, "CONNECT is not for a reverse proxy")
        hosts = [value.strip(b" \t") for name, value in fields if name.lower() == b"host"]
        if len(hosts) != 1:
            raise InvalidTarget(400, "there must be exactly one Host")
        path, authority = target, hosts[0]
        if absolute := _ABSOLUTE.match(target):
            if absolute[1].lower() != authority.lower():
                raise InvalidTarget(400, "the request target names another host than Host")
            path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        match = _AUTHORITY.match(authority)
        host = Hostname.from_wire(match[1].decode()) if match else None
        if host is None:
            raise InvalidTarget(400, "Host is not a host name")
        if not (path.startswith(b"/") or (path == b"*" and method == "OPTIONS")) or not _PATH.match(path):
            raise InvalidTarget(400, "the request target is not a path")
        return cls(host=host, authority=authority, path=path)
