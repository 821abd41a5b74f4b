"""How long a connection may take for what."""

from dataclasses import dataclass
from datetime import timedelta

from proxyd.config.host import Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds that a client has for a request head, a body that does not move, the next request; that an upstream has
    for its answer, a tunnel may rest, and connecting may take.
    """

    header: float = 30.0
    idle: float = 60.0
    keepalive: float = 75.0
    response: float = 60.0
    tunnel: float = float("inf")
    connect: float = 3.0

    @classmethod
    def of(cls, timeouts: Timeouts) -> "Times":
        """Return what a host's options say; 0: for ever, but for connecting."""
        return cls(
            header=_seconds(timeouts.header),
            idle=_seconds(timeouts.idle),
            keepalive=_seconds(timeouts.keepalive),
            response=_seconds(timeouts.response),
            tunnel=_seconds(timeouts.tunnel),
            connect=timeouts.connect.total_seconds(),
        )

    def missed(self, upstream: str, *, uploads: bool, answers: bool) -> str:
        """Return what an upstream did not do in time: take the request's body, go on with its answer, or begin it."""
        if uploads:
            return f"{upstream} took nothing of the request's body for {self.idle:g} s"
        if answers:
            return f"{upstream} stopped in the middle of its response for {self.idle:g} s"
        return f"{upstream} gave no answer within {self.response:g} s"


def _seconds(limit: timedelta) -> float:
    return limit.total_seconds() or float("inf")
