"""When each name was last asked for: a name that is used has not left us."""

from datetime import datetime, timedelta

from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname

#: Under a wildcard host clients choose the names: the memory for them is bounded.
_MOST = 100_000


class Traffic:
    """Memory only."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[Hostname, float] = {}

    def note(self, host: Hostname, monotonic: float) -> None:
        """Note a request of now."""
        self._last[host] = monotonic
        if len(self._last) > _MOST:
            del self._last[next(iter(self._last))]

    def last(self, host: Hostname) -> datetime | None:
        """Return when the last request of this process for `host` came, or None."""
        at = self._last.get(host)
        return None if at is None else self._clock.now() - timedelta(seconds=self._clock.monotonic() - at)
