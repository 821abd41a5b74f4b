"""Takes a request's body off the bytes of an HTTP/1.1 connection."""

from proxyd.core.body_length import CHUNKED
from proxyd.core.chunked_body import ChunkedBody


class BodyReader:
    """Of one request. `trailers`: the block of trailer lines, once the end was found."""

    __slots__ = ("_chunks", "_left", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self._chunks = ChunkedBody() if length == CHUNKED else None
        self.trailers = b""

    def feed(self, data: bytes) -> tuple[list[bytes], int]:
        """Return the payload in `data`, and where the body ended in it, or -1. Raises MalformedBody."""
        if self._chunks is not None:
            found = self._chunks.feed(data)
            self.trailers = self._chunks.trailers
            return found
        end = self._left if len(data) >= self._left else -1
        self._left -= len(data)
        return [data if end < 0 else data[:end]], end
