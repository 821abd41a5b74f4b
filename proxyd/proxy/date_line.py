"""The `Date` line of a response whose upstream has no clock (RFC 9110 §6.6.1)."""

from email.utils import format_datetime

from proxyd.core.clock import Clock


class DateLine:
    """Written anew once a second at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._line = b""

    def __call__(self) -> bytes:
        """Return the line, after a CRLF."""
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second = second
            self._line = b"\r\nDate: " + format_datetime(self._clock.now(), usegmt=True).encode()
        return self._line
