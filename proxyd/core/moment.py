"""Points in time as text."""

from datetime import datetime


def read_moment(text: object) -> datetime | None:
    """Return the aware time in an ISO text, or None."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
