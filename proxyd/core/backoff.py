"""How long to wait after a failure: Let's Encrypt's advice of 1 min, 10 min, 100 min, then daily."""

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_SCHEDULE = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(hours=24))
_SPREAD = 0.1
#: A CA that says "come back next year" is wrong more often than right: look again after a week.
_MAX_RETRY_AFTER = timedelta(days=7)


def next_delay(failures: int, retry_after: timedelta | None, rng: "random.Random") -> timedelta:
    """Return the wait after the `failures`-th failure in a row (from 1), within ±10 %, not under the CA's wish."""
    step = _SCHEDULE[min(max(failures, 1), len(_SCHEDULE)) - 1]
    spread = step * rng.uniform(1 - _SPREAD, 1 + _SPREAD)
    return max(spread, min(retry_after or timedelta(0), _MAX_RETRY_AFTER))
