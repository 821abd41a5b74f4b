"""Points in time as text."""

from datetime import datetime

#: Further away no sum of moments, and no other time zone, is safe.
_FIRST_YEAR, _LAST_YEAR = 2000, 2200


def read_moment(text: object) -> datetime | None:
    """Return the aware time in an ISO text, or None; neither is any that is centuries away."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None and _FIRST_YEAR <= at.year <= _LAST_YEAR else None
