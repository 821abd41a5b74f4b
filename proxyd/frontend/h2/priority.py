"""How soon a client wants an answer, by the Priority field of its request (RFC 9218)."""

import re
from typing import Final

#: RFC 9218 §4.1
DEFAULT: Final = 3
#: The urgency in a block of lines, the last one of a field (RFC 9218 §4, RFC 8941 §3.2).
_URGENCY = re.compile(rb"\r\npriority:(?:[^\r]*[, ])?u=([0-7])(?![^,; \r])")


def urgency_of(lines: bytes) -> int:
    """Return the urgency, 0 (the first) to 7, that header lines with names in lower case ask for."""
    if b"\r\npriority:" not in lines:
        return DEFAULT
    found = _URGENCY.search(lines)
    return DEFAULT if found is None else int(found[1])
