"""Where in time renewals are placed, so that a fleet issued in one night is not renewed in one night."""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

_HOURS_A_DAY = 24
_HOUR, _DAY = 3600.0, 86_400.0  # as numbers: ten thousand hosts take their places here
#: A fifth more than the mean: what cannot be placed comes on top (short lives, which are not placed yet when long ones
#: are), and the peak stays under three times the mean.
_CROWD = 1.2
#: So many certificates disturb nobody, renewed on one day: each stays in the window of its CA (ADR 5).
_FEW = 100
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
        self._placed = 0
        self.expected = 0  # so many there will be

    @property
    def are_few(self) -> bool:
        """Return whether all of them may be renewed on one day, when the CA wishes it."""
        return max(self.expected, self._placed) < _FEW

    def add(self, slot: Slot) -> None:
        """Count a planned renewal."""
        self._hours[int(slot.at.timestamp() // _HOUR)] += 1
        self._days[int(slot.at.timestamp() // _DAY)] += 1
        self._rate += _rate(slot.cycle)
        self._placed += 1

    def remove(self, slot: Slot) -> None:
        """Take a planned renewal back."""
        for counter, width in ((self._hours, _HOUR), (self._days, _DAY)):
            index = int(slot.at.timestamp() // width)
            counter[index] -= 1
            if counter[index] <= 0:
                del counter[index]
        self._rate = max(0.0, self._rate - _rate(slot.cycle))
        self._placed -= 1

    def place(self, wished: datetime, *, earliest: datetime, cycle: timedelta) -> datetime:
        """Return `wished`, or the latest hour before it, not before `earliest`, that is not crowded.

        When all are: the one with the fewest renewals, the latest of these.
        """
        an_hour, a_day = self._allowed(cycle)
        moment, first = wished.timestamp(), earliest.timestamp()
        while moment > first:
            if self._days[int(moment // _DAY)] >= a_day:
                moment = max(moment - _DAY, first)
            elif self._hours[int(moment // _HOUR)] >= an_hour:
                moment -= _HOUR
            else:
                return _earlier(wished, moment)
        return self._least_crowded(wished, earliest)

    def place_late(self, now: datetime, *, latest: datetime, cycle: timedelta) -> datetime:
        """Return now, or the first hour after it, up to `latest`, that is not crowded; when all are, the least so."""
        an_hour, a_day = self._allowed(cycle)
        moment, last = now.timestamp(), latest.timestamp()
        while moment <= last:
            if self._days[int(moment // _DAY)] < a_day and self._hours[int(moment // _HOUR)] < an_hour:
                return now + timedelta(seconds=round(moment - now.timestamp()))
            moment += _HOUR
        return self._least_crowded(latest, now)

    def _allowed(self, cycle: timedelta) -> tuple[int, int]:
        """Return how many in an hour and in a day are no crowd."""
        rate = (self._rate + _rate(cycle)) * max(1.0, self.expected / (self._placed + 1))
        return math.ceil(_CROWD * rate * _HOUR), math.ceil(_CROWD * rate * _DAY) + _FREE_A_DAY

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

    def place_late(self, now: datetime, *, latest: datetime, cycle: timedelta) -> datetime:
        return now


def _earlier(wished: datetime, moment: float) -> datetime:
    return wished - timedelta(seconds=round(wished.timestamp() - moment))


def _rate(cycle: timedelta) -> float:
    return 1 / max(cycle.total_seconds(), _HOUR)
