"""Whether a listed host has left us: then it spends no budget until it comes back."""

from datetime import datetime, timedelta

_WEEK = timedelta(days=7)


def has_left(
    *,
    pointed_elsewhere_since: datetime | None,
    last_request: datetime | None,
    last_success: datetime | None,
    failing_since: datetime | None,
    now: datetime,
) -> bool:
    """Return whether the DNS, the renewals and the requests of a host have all been gone for seven days.

    `pointed_elsewhere_since`: since when its DNS gives other addresses than at its last successful validation, or none.
    Behind a CDN or NAT the addresses of the last success are the measure, so such a host never leaves while it works.
    """
    if pointed_elsewhere_since is None or failing_since is None:
        return False
    moments = (pointed_elsewhere_since, failing_since, last_request, last_success)
    return all(moment is None or now - moment >= _WEEK for moment in moments)
