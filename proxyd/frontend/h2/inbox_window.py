"""How much the client may send on a connection until we take it (RFC 9113 §5.2)."""

from collections.abc import Callable

from proxyd.frontend.h2.fault import ConnectionFault
from proxyd.frontend.h2.frames import DEFAULT_WINDOW, FLOW_CONTROL_ERROR, window_update


class InboxWindow:
    """Of all streams together; `put` sends a frame."""

    __slots__ = ("_credit", "_put", "_room", "_size")

    def __init__(self, size: int, put: Callable[[bytes], None]) -> None:
        self._room = self._size = size
        self._credit = 0
        self._put = put

    def first(self) -> bytes:
        """Return the frame that makes it as large as it is (RFC 9113 §6.9.2), or nothing."""
        more = self._size - DEFAULT_WINDOW
        return window_update(0, more) if more else b""

    def fill(self, size: int) -> None:
        """So much came. Raises ConnectionFault (RFC 9113 §6.9.1)."""
        self._room -= size
        if self._room < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more than the connection's window")

    def give(self, size: int) -> None:
        """So much was taken: the window opens again, when that is worth a frame."""
        self._credit += size
        if self._credit >= self._size // 4:
            self._room += self._credit
            self._put(window_update(0, self._credit))
            self._credit = 0
