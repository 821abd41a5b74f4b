"""How long a connection may take for what."""

from typing import NamedTuple

from proxyd.config.host import Timeouts


class Times(NamedTuple):
    """Seconds that a client has for a request head, a body that does not move, the next request; that an upstream has
    for its answer, and a tunnel may rest.
    """

    header: float = 30.0
    idle: float = 60.0
    keepalive: float = 75.0
    response: float = 60.0
    tunnel: float = float("inf")

    @classmethod
    def of(cls, timeouts: Timeouts) -> "Times":
        """Return what a host's options say; 0: for ever."""
        wanted = (timeouts.header, timeouts.idle, timeouts.keepalive, timeouts.response, timeouts.tunnel)
        return cls(*(one.total_seconds() or float("inf") for one in wanted))
