"""The machine's clocks."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements Clock."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time_ns() / 1e9, UTC)

    def monotonic(self) -> float:
        return time.monotonic()
