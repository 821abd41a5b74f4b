"""When a certificate is due: the CA's window (RFC 9773), else a share of its life; a fleet spreads by itself."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.core.hostname import Hostname
from proxyd.core.moment import read_moment

_SHORT_LIFE = timedelta(days=10)
#: From here on the CA's window can no longer delay.
_LAST_SHARE = 20
_SOONEST_ASK, _LATEST_ASK = timedelta(minutes=1), timedelta(hours=12)
#: A lifetime below this share of the former is the CA's new policy or another profile.
_SAME_LIFETIME = 0.9
#: Clocks differ a little.
_SLACK = timedelta(hours=1)
_USUAL_ASK = timedelta(hours=6)
_MAX_URL = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """From when to when a certificate is valid."""

    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        return self.not_after - self.not_before


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalWindow:
    """When the CA wants the certificate with `cert_id` replaced (RFC 9773 §4.2)."""

    cert_id: str
    start: datetime
    end: datetime
    explanation_url: str | None = None

    def is_for(self, cert_id: str, validity: Validity) -> bool:
        """Return whether it is the window of that certificate, and can be kept: not one that opens when it is over."""
        return self.cert_id == cert_id and self.start < validity.not_after

    def holds(self, cert_id: str, at: datetime) -> bool:
        """Return whether it is the window of that certificate, and open."""
        return self.cert_id == cert_id and self.start <= at < self.end


def spread(host: Hostname) -> float:
    """Return the host's own point in [0, 1): the same in every process and after every restart."""
    return int.from_bytes(hashlib.sha256(host.text.encode()).digest()[:8]) / 2**64


def renew_at(validity: Validity, window: RenewalWindow | None, point: float) -> datetime:
    """Return the moment from which the certificate shall be replaced; `point` in [0, 1) spreads a fleet.

    Without a window: a third of the life left, half for lives under ten days (Let's Encrypt's integration guide).
    """
    lifetime = validity.lifetime
    if window is None:
        share = lifetime / (2 if lifetime < _SHORT_LIFE else 3)
        return validity.not_after - share - point * lifetime / _LAST_SHARE
    wished = window.start + point * (window.end - window.start)
    return min(wished, validity.not_after - lifetime / _LAST_SHARE)


def latest_without(validity: Validity) -> datetime:
    """Return until when a certificate without a window may be put off, where many are due at once."""
    return renew_at(validity, None, 0) + validity.lifetime / _LAST_SHARE


def ending_from(validity: Validity) -> datetime:
    """Return when the last tenth of the life begins."""
    return validity.not_after - validity.lifetime / 10


def is_ending(validity: Validity, now: datetime) -> bool:
    """Return whether the last tenth of the life has begun."""
    return now >= ending_from(validity)


def begins_later(validity: Validity, now: datetime) -> bool:
    """Return whether clients refuse the certificate still: it was made by a clock that was ahead."""
    return validity.not_before > now + _SLACK


def ends_too_early(new: Validity, serving: Validity | None, now: datetime) -> bool:
    """Return whether `new` from the same CA would shorten what serves, although both are meant to live as long."""
    if serving is None or now >= serving.not_after or begins_later(serving, now):
        return False
    return new.not_after < serving.not_after and new.lifetime >= _SAME_LIFETIME * serving.lifetime


def ask_again_at(now: datetime, retry_after: timedelta | None) -> datetime:
    """Return when to ask for the window again: at the CA's Retry-After, at least twice a day (RFC 9773 §4.3.2)."""
    asked = _USUAL_ASK if retry_after is None else retry_after
    return now + min(max(asked, _SOONEST_ASK), _LATEST_ASK)


def parse_window(document: object, cert_id: str) -> RenewalWindow | None:
    """Return the window in a renewalInfo answer (RFC 9773 §4.2), or None when it makes no sense (§4.3.3)."""
    fields = document if isinstance(document, Mapping) else {}
    suggested = fields.get("suggestedWindow")
    if not isinstance(suggested, Mapping):
        return None
    start, end = read_moment(suggested.get("start")), read_moment(suggested.get("end"))
    if start is None or end is None or end <= start:
        return None
    url = fields.get("explanationURL")
    shown = isinstance(url, str) and url.startswith("https://") and url.isprintable() and len(url) <= _MAX_URL
    return RenewalWindow(cert_id=cert_id, start=start, end=end, explanation_url=str(url) if shown else None)
