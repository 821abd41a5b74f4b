"""Points in time as text, and from it."""

from datetime import datetime, timedelta

#: Further away no sum of moments, and no other time zone, is safe.
_FIRST_YEAR, _LAST_YEAR = 2000, 2200


def read_moment(text: object) -> datetime | None:
    """Return the aware time in an ISO text, or None; neither is any that is centuries away."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None and _FIRST_YEAR <= at.year <= _LAST_YEAR else None


def distance(away: timedelta) -> str:
    """Return how far away a moment is, as people say it: "in 29 d", "3 h ago"."""
    size = abs(away)
    for unit, name in ((timedelta(days=2), "d"), (timedelta(hours=2), "h"), (timedelta(minutes=2), "min")):
        if size >= unit:
            one = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}[name]
            text = f"{size // one} {name}"
            break
    else:
        text = f"{size.seconds} s"
    return f"in {text}" if away >= timedelta(0) else f"{text} ago"
