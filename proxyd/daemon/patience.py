"""How long a reader of the log is waited for."""

from time import monotonic, sleep

_SECONDS = 0.1
_NONE_SECONDS = 10.0
_REST_SECONDS = 0.005


class Patience:
    """A reader that is only busy gets all. One that took longer gets what it takes at once, for a while: else one that
    is slow would hold us up again and again.
    """

    def __init__(self) -> None:
        self._begins_at = 0.0

    def until(self) -> float:
        """Return until when to wait for it, by the monotonic clock."""
        now = monotonic()
        return now if now < self._begins_at else now + _SECONDS

    def was_in_vain(self) -> None:
        """Hear that it did not take all in that time."""
        self._begins_at = monotonic() + _NONE_SECONDS


def rest(until: float) -> bool:
    """Wait a moment; return False when there is no more time for it."""
    if (left := until - monotonic()) <= 0:
        return False
    sleep(min(left, _REST_SECONDS))
    return True
