"""Strict-Transport-Security (RFC 6797): what browsers are told to remember of a host."""

from datetime import timedelta
from typing import Final

DAY: Final = 86_400
YEAR: Final = 365 * DAY
#: By how often the certificate was renewed: what cannot be renewed must not lock browsers out for long.
_RAMP: Final = (None, DAY, 60 * DAY, YEAR)
#: Between two renewals that count: renewing by hand proves nothing new.
COUNTS_AFTER: Final = timedelta(days=1)


def ramp(renewals: int) -> int | None:
    """Return for how many seconds browsers shall remember a host after so many renewals; None: they are not told."""
    return _RAMP[min(renewals, len(_RAMP) - 1)]


def strict_transport_line(max_age: int, *, include_subdomains: bool, preload: bool = False) -> bytes:
    """Return the header line, after a CRLF; `max_age` in seconds, 0: forget it."""
    more = b"; includeSubDomains" if include_subdomains else b""
    return b"\r\nStrict-Transport-Security: max-age=%d%b%b" % (max_age, more, b"; preload" if preload else b"")


def ramp_lines(*, include_subdomains: bool) -> tuple[bytes, ...]:
    """Return the line after no renewal, after one, and so on; the last is that for all others."""
    return tuple(
        b"" if age is None else strict_transport_line(age, include_subdomains=include_subdomains) for age in _RAMP
    )
