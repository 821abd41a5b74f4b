"""When a certificate is due: a third of its life left, half for lives under ten days."""

from datetime import datetime, timedelta

_SHORT_LIFE = timedelta(days=10)


def renew_at(not_before: datetime, not_after: datetime) -> datetime:
    """Return the moment from which the certificate shall be replaced (Let's Encrypt's integration guide)."""
    lifetime = not_after - not_before
    return not_after - lifetime / (2 if lifetime < _SHORT_LIFE else 3)
