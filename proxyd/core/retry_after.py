"""The Retry-After header in both its forms (RFC 9110 §10.2.3)."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Return how long to wait, never negative, or None when the header is absent or makes no sense."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 10**8))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": RFC 9110 says every HTTP date is UTC
        date = date.replace(tzinfo=UTC)
    return max(date - now, timedelta(0))
