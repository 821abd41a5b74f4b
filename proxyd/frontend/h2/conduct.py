"""What a client is charged for: how often it may take requests back, break them, or send what brings nothing."""

from collections.abc import Callable

from proxyd.config.http2_limits import Http2Limits
from proxyd.frontend.h2.allowance import Allowance
from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import ENHANCE_YOUR_CALM


class Conduct:
    """Of one connection. Its methods raise ConnectionFault when it was too much."""

    __slots__ = ("_glitches", "_resets")

    def __init__(self, limits: Http2Limits, now: Callable[[], float]) -> None:
        self._resets = Allowance(limits.resets, limits.resets_per_second, now)
        self._glitches = Allowance(limits.glitches, limits.glitches_per_second, now)

    def glitch(self, why: str, amount: float = 1.0) -> None:
        """A frame came that brings nothing."""
        if not self._glitches.take(amount):
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"too many {why}", "http2_glitches")

    def reset(self, why: str) -> None:
        """A request ended by a reset: the client's, or ours for a fault of the client's, which costs us the same."""
        if not self._resets.take():
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"too many {why}", "http2_resets")
