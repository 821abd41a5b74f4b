"""What requests tell of an upstream: after three failures in a row it is left alone for a while."""

from collections.abc import Callable
from typing import Final, NamedTuple

FAILURES: Final = 3
OUT_SECONDS: Final = 10.0
#: For one that only refused connections, which costs nothing to try, when nobody else is there.
_SOONER_SECONDS: Final = 1.0


class Experience(NamedTuple):
    """What is known: how often it failed in a row, until when it is out, and whether it took no connection."""

    failures: int
    out_until: float
    refused: bool


class PassiveHealth:
    """Three failures in a row: out for ten seconds, then one request at a time tries it. `now`: monotonic seconds.

    `changed` hears what other processes should know, who `learn` it.
    """

    __slots__ = ("_changed", "_refused", "failures", "out_until")

    def __init__(self, changed: Callable[[Experience], None] = lambda _: None) -> None:
        self.failures = 0
        self.out_until = 0.0
        self._refused = False
        self._changed = changed

    def failed(self, now: float, *, refused: bool = False) -> bool:
        """Note a failure; return whether the upstream is out because of it and was not before.

        `refused`: it took no connection, so that nothing was lost.
        """
        self.failures += 1
        self._refused = refused
        was_in = not self.out_until
        if self.failures >= FAILURES:
            self.out_until = now + OUT_SECONDS
        self._tell()
        return was_in and self.failures >= FAILURES

    def worked(self) -> bool:
        """Note a success; return whether the upstream was out."""
        was_out = bool(self.out_until)
        self.failures, self.out_until = 0, 0.0
        self._tell()
        return was_out

    def admits(self, now: float) -> bool:
        """Return whether a request may go there."""
        return self.out_until <= now

    def admits_as_last(self, now: float) -> bool:
        """Return whether a request may go there that nobody else can serve."""
        return self._refused and self.out_until - OUT_SECONDS + _SOONER_SECONDS <= now

    def taken(self, now: float) -> None:
        """Note that a request goes there: if it is the probe, no other follows until it ends, or for as long again."""
        if self.out_until:
            self.out_until = now + OUT_SECONDS
            self._tell()

    def learn(self, experience: Experience) -> None:
        """Take over what another process knows."""
        self.failures, self.out_until, self._refused = experience

    def _tell(self) -> None:
        self._changed(Experience(self.failures, self.out_until, self._refused))
