"""Where a client is sent."""

from typing import NamedTuple
from urllib.parse import quote

#: Only bytes that no client can mistake for the end of the header, or of a link, stay as they are.
_SAFE = "/?#[]@!$&()*+,;=:%~-._{}|^`'"


class Redirection(NamedTuple):
    """`to` is a URL, or a path of the same host. `keeps_path`: what the client asked for is added to it."""

    to: str
    status: int = 308
    keeps_path: bool = True

    def location(self, authority: bytes, rest: bytes) -> bytes:
        """Return the URL for a `Location` line: always a whole one, so that no path can name another host.

        `rest` is the target, or what is left of it after the path that is redirected.
        """
        to = self.to.encode()
        if to.startswith(b"/"):
            to = b"https://" + authority + to
        if not self.keeps_path:
            return to
        path, mark, query = rest.partition(b"?")
        if path not in (b"", b"*"):
            to = to.removesuffix(b"/") + path
        return quote(to + mark + query, safe=_SAFE).encode()


def https_location(authority: str, target: bytes) -> bytes:
    """Return the URL of a request's target at a host."""
    return Redirection("/").location(authority.encode(), target)
