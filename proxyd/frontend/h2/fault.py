"""What a client does wrong, by how much of the connection it costs (RFC 9113 §5.4)."""

from proxyd.core.counters import Limit


class ConnectionFault(Exception):
    """The connection ends with this error code (RFC 9113 §5.4.1); `why` is for the log.

    `limit`: the one that it is over.
    """

    def __init__(self, code: int, why: str, limit: Limit | None = None) -> None:
        super().__init__(why)
        self.code, self.limit = code, limit


class StreamFault(Exception):
    """The stream ends with this error code, and the client is charged for it (RFC 9113 §5.4.2)."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
