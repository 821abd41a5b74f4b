"""URLs that a CA sends: only ours to follow when they stay with the CA."""

import re
from urllib.parse import urlsplit

_VISIBLE = re.compile(r"[!-~]{1,2000}\Z")
Origin = tuple[str, int]


def origin(url: object) -> Origin | None:
    """Return host and port of an https URL, or None for everything else: other schemes, user names, odd characters."""
    if not isinstance(url, str) or not _VISIBLE.match(url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.password is not None:
        return None
    return parts.hostname, port or 443
