"""What a client is charged for: how often it may take requests back, break them, or send what brings nothing."""

from collections.abc import Callable
from typing import Final

from proxyd.config.http2_limits import Http2Limits
from proxyd.frontend.h2.allowance import Allowance
from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import ENHANCE_YOUR_CALM

#: So many settings cost as much as their frame.
SETTINGS_EACH: Final = 10
#: A piece of a body that is smaller costs the client something, unless it is the first or the last.
TINY: Final = 128
_TINY_COSTS, _FRAGMENT_COSTS = 0.25, 0.01
#: A client's frame in a WebSocket has a head and a mask (RFC 6455 §5.2).
_SMALLEST_MESSAGE = 6


def cost_of_tiny(size: int, *, in_tunnel: bool) -> float:
    """Return what a piece of less than TINY bytes costs. Small ones are what tunnels have; parts of them are not."""
    if not size:
        return 1.0
    if not in_tunnel:
        return _TINY_COSTS
    return _FRAGMENT_COSTS if size < _SMALLEST_MESSAGE else 0.0


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
