"""Where in time renewals are placed, so that a fleet issued in one night is not renewed in one night."""

import math
from collections import Counter
from datetime import datetime, timedelta

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_HOUR_SECONDS, _DAY_SECONDS = 3600.0, 86_400.0
#: Twice the mean, so that what cannot be placed still leaves the peak under three times the mean.
_CROWD = 2
#: A few hosts together disturb nobody.
_FREE_A_DAY = 2


class Slots:
    """How many renewals are planned in each hour and day."""

    def __init__(self) -> None:
        self._hours: Counter[int] = Counter()
        self._days: Counter[int] = Counter()
        self._planned = 0

    def add(self, at: datetime) -> None:
        """Count a planned renewal."""
        self._hours[_index(at, _HOUR)] += 1
        self._days[_index(at, _DAY)] += 1
        self._planned += 1

    def remove(self, at: datetime) -> None:
        """Take a planned renewal back."""
        for counter, index in ((self._hours, _index(at, _HOUR)), (self._days, _index(at, _DAY))):
            counter[index] -= 1
            if counter[index] <= 0:
                del counter[index]
        self._planned -= 1

    def place(self, wished: datetime, *, earliest: datetime, cycle: timedelta) -> datetime:
        """Return `wished`, or the latest hour before it, not before `earliest`, that is not crowded.

        `cycle` is the time between two renewals of one host: it gives the mean rate of the fleet.
        """
        fleet = self._planned + 1
        an_hour = math.ceil(_CROWD * fleet * (_HOUR / max(cycle, _HOUR)))
        a_day = math.ceil(_CROWD * fleet * (_DAY / max(cycle, _HOUR))) + _FREE_A_DAY
        moment, first = (
            wished.timestamp(),
            earliest.timestamp(),
        )  # as numbers: ten thousand hosts take their places here
        while moment > first:
            if self._days[int(moment // _DAY_SECONDS)] >= a_day:
                moment = max(moment - _DAY_SECONDS, first)
            elif self._hours[int(moment // _HOUR_SECONDS)] >= an_hour:
                moment -= _HOUR_SECONDS
            else:
                return wished - timedelta(seconds=round(wished.timestamp() - moment))
        return wished


def _index(at: datetime, width: timedelta) -> int:
    return int(at.timestamp() // width.total_seconds())
