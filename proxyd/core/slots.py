"""Where in time renewals are placed, so that a fleet issued in one night is not renewed in one night."""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

_HOURS_A_DAY = 24
_HOUR, _DAY = 3600.0, 86_400.0  # as numbers: ten thousand hosts take their places here
#: Half more than the mean: what cannot be placed comes on top, and the peak stays under three times the mean.
_CROWD = 1.5
#: A few hosts together disturb nobody.
_FREE_A_DAY = 2


@dataclass(frozen=True, slots=True)
class Slot:
    """A planned renewal; `cycle` is the time between two renewals of the host."""

    at: datetime
    cycle: timedelta


class Slots:
    """How many renewals are planned in each hour and day."""

    def __init__(self) -> None:
        self._hours: Counter[int] = Counter()
        self._days: Counter[int] = Counter()
        self._rate = 0.0  # renewals a second of the whole fleet, whatever its mixture of lifetimes

    def add(self, slot: Slot) -> None:
        """Count a planned renewal."""
        self._hours[int(slot.at.timestamp() // _HOUR)] += 1
        self._days[int(slot.at.timestamp() // _DAY)] += 1
        self._rate += _rate(slot.cycle)

    def remove(self, slot: Slot) -> None:
        """Take a planned renewal back."""
        for counter, width in ((self._hours, _HOUR), (self._days, _DAY)):
            index = int(slot.at.timestamp() // width)
            counter[index] -= 1
            if counter[index] <= 0:
                del counter[index]
        self._rate = max(0.0, self._rate - _rate(slot.cycle))

    def place(self, wished: datetime, *, earliest: datetime, cycle: timedelta) -> datetime:
        """Return `wished`, or the latest hour before it, not before `earliest`, that is not crowded.

        When all are: the one with the fewest renewals, the latest of these.
        """
        rate = self._rate + _rate(cycle)
        an_hour = math.ceil(_CROWD * rate * _HOUR)
        a_day = math.ceil(_CROWD * rate * _DAY) + _FREE_A_DAY
        moment, first = wished.timestamp(), earliest.timestamp()
        while moment > first:
            if self._days[int(moment // _DAY)] >= a_day:
                moment = max(moment - _DAY, first)
            elif self._hours[int(moment // _HOUR)] >= an_hour:
                moment -= _HOUR
            else:
                return _earlier(wished, moment)
        return self._least_crowded(wished, earliest)

    def _least_crowded(self, wished: datetime, earliest: datetime) -> datetime:
        last = wished.timestamp()
        room = max(0, int((last - earliest.timestamp()) // _HOUR)) + 1
        final = int(last // _HOUR)
        counts = [self._hours.get(hour, 0) for hour in range(final, final - room, -1)]
        fewest = min(counts)
        alike = (back for back, count in enumerate(counts) if count == fewest)
        best = min(alike, key=lambda back: self._days.get((final - back) // _HOURS_A_DAY, 0))
        return _earlier(wished, last - _HOUR * best)


class NoSlots(Slots):
    """Leaves every renewal where it is wished: for who asks what is due and not when the rest will be."""

    def place(self, wished: datetime, *, earliest: datetime, cycle: timedelta) -> datetime:
        return wished


def _earlier(wished: datetime, moment: float) -> datetime:
    return wished - timedelta(seconds=round(wished.timestamp() - moment))


def _rate(cycle: timedelta) -> float:
    return 1 / max(cycle.total_seconds(), _HOUR)
