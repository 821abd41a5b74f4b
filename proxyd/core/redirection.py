"""Where a client is sent."""

from urllib.parse import quote

#: Only bytes that no client can mistake for the end of the header, or of a link, stay as they are.
_SAFE = "/?#[]@!$&()*+,;=:%~-._{}|^`'"


def https_location(authority: str, target: bytes) -> bytes:
    """Return the URL of a request's target at a host, for a `Location` line."""
    return f"https://{authority}{quote(b'/' if target == b'*' else target, safe=_SAFE)}".encode()
