"""How long a client connection may take for what."""

from typing import NamedTuple

from proxyd.config.host import Timeouts


class Times(NamedTuple):
    """Seconds that a client has: for a request head, for a body that does not move, between two requests."""

    header: float = 30.0
    idle: float = 60.0
    keepalive: float = 75.0

    @classmethod
    def of(cls, timeouts: Timeouts) -> "Times":
        """Return what a host's options say; 0: for ever."""
        wanted = (timeouts.header, timeouts.idle, timeouts.keepalive)
        return cls(*(one.total_seconds() or float("inf") for one in wanted))
