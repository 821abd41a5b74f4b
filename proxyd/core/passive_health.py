"""What requests tell of an upstream: after three failures in a row it is left alone for a while."""

from typing import Final

FAILURES: Final = 3
OUT_SECONDS: Final = 10.0
#: For one that only refused connections, which costs nothing to try, when nobody else is there.
_SOONER_SECONDS: Final = 1.0


class PassiveHealth:
    """Three failures in a row: out for ten seconds, then one request at a time tries it. `now`: monotonic seconds."""

    __slots__ = ("_refused", "failures", "out_until")

    def __init__(self) -> None:
        self.failures = 0
        self.out_until = 0.0
        self._refused = False

    def failed(self, now: float, *, refused: bool = False) -> bool:
        """Note a failure; return whether the upstream is out because of it and was not before.

        `refused`: it took no connection, so that nothing was lost.
        """
        self.failures += 1
        self._refused = refused
        if self.failures < FAILURES:
            return False
        was_in = not self.out_until
        self.out_until = now + OUT_SECONDS
        return was_in

    def worked(self) -> bool:
        """Note a success; return whether the upstream was out."""
        was_out = bool(self.out_until)
        self.failures, self.out_until = 0, 0.0
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
