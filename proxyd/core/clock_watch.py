"""May the wall clock be believed? It is set by people, batteries and networks; the time that elapses is not."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.core.renewal import Validity

#: Less is a correction by NTP, or a CA whose own clock is a little off.
TOLERANCE = timedelta(hours=1)
#: So long after the end of the last certificate a machine was off for years, or its clock is wrong.
_LONG_EXPIRED = timedelta(days=365)
_NEXT = "set it (timedatectl set-ntp true)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why the clock is not believed, with the next step.

    `holds`: not even the time to go by is known, so nothing may be ordered. `asks`: a CA's Date may settle it.
    """

    reason: str
    holds: bool
    asks: bool = True


class ClockWatch:
    """Fed with what the wall says and what has elapsed, always read together. Deterministic.

    The time to go by is the wall's until it jumps; from then on what was believed before, plus what has elapsed, until
    the wall comes back or a CA confirms it. So a jump makes nothing due and puts nothing off.
    """

    def __init__(self, wall: datetime, elapsed: float, *, released: datetime) -> None:
        self.steps = 0  # how often the time to go by was corrected by more than the tolerance
        self._released = released
        self._origin = _origin(wall, elapsed)  # what the believed clock showed when nothing had elapsed
        self._confirmed_by: str | None = None
        self._contrary: tuple[str, timedelta] | None = None
        self._newest: datetime | None = None
        self._last: datetime | None = None

    def now(self, wall: datetime, elapsed: float) -> datetime:
        """Return the time to go by."""
        origin = _origin(wall, elapsed)
        if abs(origin - self._origin) > TOLERANCE:
            believed = self._origin + timedelta(seconds=elapsed)
            if self._implausible(believed) is None:
                return believed
            self._step(origin)  # nothing is lost with what was not believed either
        self._origin = origin
        return wall

    def found(self, validities: Iterable[Validity]) -> None:
        """Take what the cache has as a measure: nothing of it was made in the future."""
        known = [*validities]
        self._newest = max((one.not_before for one in known), default=self._newest)
        self._last = max((one.not_after for one in known), default=self._last)

    def dated(self, by: str, date: datetime, wall: datetime, elapsed: float) -> None:
        """Say that the CA `by` dates its answer so; its connection was verified."""
        if date < self._released:  # that CA's clock is wrong
            return
        believed = self.now(wall, elapsed)
        if abs(wall - date) <= TOLERANCE:
            if wall != believed:
                self._step(_origin(wall, elapsed))
            self._confirmed_by, self._contrary = by, None
        elif abs(believed - date) <= TOLERANCE:
            self._confirmed_by, self._contrary = by, None
        elif self._confirmed_by in (None, by):  # else that CA is the one whose clock is wrong
            self._confirmed_by, self._contrary = None, (by, believed - date)

    @property
    def is_confirmed(self) -> bool:
        """Return whether a CA said that the time to go by is right."""
        return self._confirmed_by is not None

    def doubt(self, wall: datetime, elapsed: float) -> Doubt | None:
        """Return why the clock is not believed, or None."""
        believed = self.now(wall, elapsed)
        if found := self._implausible(believed):
            return found
        if wall == believed:
            return None
        jump = wall - believed
        return Doubt(
            reason=f"the clock of this machine jumped {'ahead' if jump > timedelta(0) else 'back'} by "
            f"{_shown(jump)}, to {wall:%Y-%m-%d %H:%M} UTC: proxyd counts on from the time before "
            f"({believed:%Y-%m-%d %H:%M} UTC) until a CA confirms the new one; if it is wrong, {_NEXT}",
            holds=False,
        )

    def _implausible(self, believed: datetime) -> Doubt | None:
        """Return what speaks against the time to go by itself."""
        says = f"the clock of this machine says {believed:%Y-%m-%d}"
        if believed < self._released:
            reason = f"{says}, before this program was made: {_NEXT}; no CA is asked until then"
            return Doubt(reason=reason, holds=True, asks=False)
        if self._contrary is not None:
            by, skew = self._contrary
            side = "ahead of" if skew > timedelta(0) else "behind"
            reason = f"the clock of this machine is {_shown(skew)} {side} the CA's ({by}): {_NEXT}"
            return Doubt(reason=f"{reason}; nothing is ordered until then", holds=True)
        if self._confirmed_by is not None:
            return None
        until = f"if that is wrong, {_NEXT}; nothing is ordered before a CA confirms it"
        if self._newest is not None and believed < self._newest - TOLERANCE:
            made = f"{self._newest:%Y-%m-%d}"
            return Doubt(reason=f"{says}, but a certificate of the cache was made on {made}: {until}", holds=True)
        if self._last is not None and believed - _LONG_EXPIRED > self._last:
            ended = f"{self._last:%Y-%m-%d}"
            return Doubt(reason=f"{says}, but the last certificate of the cache ended on {ended}: {until}", holds=True)
        return None

    def _step(self, origin: datetime) -> None:
        self._origin = origin
        self._confirmed_by, self._contrary = None, None
        self.steps += 1


def _origin(wall: datetime, elapsed: float) -> datetime:
    return wall - timedelta(seconds=elapsed)


def _shown(span: timedelta) -> str:
    return str(timedelta(seconds=round(abs(span).total_seconds())))
