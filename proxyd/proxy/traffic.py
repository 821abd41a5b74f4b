"""When each name was last asked for: a name that is used has not left us."""

from datetime import datetime, timedelta

from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname

#: Under a wildcard host clients choose the names: the memory for them is bounded.
_MOST = 100_000
#: Seconds after a request in which the next is to be expected.
_LULL = 1.0


class Traffic:
    """Memory only."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._latest = self._told = float("-inf")

    def note(self, host: Hostname, monotonic: float) -> None:
        """Note a request of now."""
        self._last[host.text] = self._latest = monotonic
        if len(self._last) > _MOST:
            del self._last[next(iter(self._last))]

    def noted(self) -> dict[str, float]:
        """Return what was noted since the last call of this: names, and when by the monotonic clock."""
        since, self._told = self._told, self._latest
        if self._latest <= since:
            return {}
        return {host: at for host, at in self._last.items() if at > since}

    def is_flowing(self) -> bool:
        """Return whether requests come now."""
        return self._clock.monotonic() - self._latest < _LULL

    def last(self, host: Hostname) -> datetime | None:
        """Return when the last request of this process for `host` came, or None."""
        at = self._last.get(host.text)
        return None if at is None else self._clock.now() - timedelta(seconds=self._clock.monotonic() - at)
