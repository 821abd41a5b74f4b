"""The life of a certificate as a bar: how much of it is over, and where its renewal is."""

from collections.abc import Callable
from datetime import datetime

from proxyd.core.renewal import Validity, is_ending
from proxyd.core.status import HostStatus

_WIDTH = 1000


def life_bar(row: HostStatus, now: datetime, say: Callable[[datetime, datetime], str]) -> str:
    """Return the bar with its two moments, as `say` tells them, as HTML; without a certificate, that there is none."""
    begin, end = row.not_before, row.not_after
    if begin is None or end is None:
        return '<p class="soft small">no certificate of its own</p>'
    point = _place(row.renew_at, begin, end)
    mark = (
        f'<rect class="point" x="{min(point, _WIDTH - 6)}" y="0" width="6" height="10"/>' if point is not None else ""
    )
    renews = f"renews {say(row.renew_at, now)}" if row.renew_at else ""
    ends = "expires" if end > now else "expired"
    over = (
        f'<rect class="gone {_tone(row, begin, end, now)}" x="0" y="2" width="{_place(now, begin, end)}" height="6"/>'
    )
    return (
        f'<svg class="life" viewBox="0 0 {_WIDTH} 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" x="0" y="2" width="{_WIDTH}" height="6"/>'
        f"{over}{mark}</svg>"
        f'<p class="ends small soft"><span>{renews}</span><span>{ends} {say(end, now)}</span></p>'
    )


def _place(at: datetime | None, begin: datetime, end: datetime) -> int | None:
    """Return where a moment is on the bar; what is outside of the life is at its edge."""
    if at is None:
        return None
    life = max((end - begin).total_seconds(), 1.0)
    return round(_WIDTH * min(max((at - begin).total_seconds() / life, 0.0), 1.0))


def _tone(row: HostStatus, begin: datetime, end: datetime, now: datetime) -> str:
    if is_ending(Validity(not_before=begin, not_after=end), now):
        return "bad"
    return "warn" if row.failures or (row.renew_at is not None and row.renew_at < now) else "good"
