"""How long to wait after a failure, by whose trouble it is."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from proxyd.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    import random

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: Let's Encrypt's integration guide: a failed validation costs one of five an hour and of 1,152 until the pause.
_VALIDATION = (_MINUTE, 10 * _MINUTE, 100 * _MINUTE, _DAY)
#: Costs nobody anything, and the CA is back within the hour more often than not.
_CA = (_MINUTE, 10 * _MINUTE, _HOUR)
_LOCAL = (_MINUTE, 10 * _MINUTE)
_SPREAD = 0.1
#: A CA that says "come back next year" is wrong more often than right: look again after a week.
_MAX_RETRY_AFTER = timedelta(days=7)
#: Nothing is put off for longer, by a schedule, a CA or a limit.
LONGEST_WAIT = timedelta(days=8)
#: Certificates that live shorter than this have no time for waits of a day.
_FULL_WAITS_FROM = timedelta(days=5)
_SHORTEST = timedelta(seconds=1)


def retry_at(
    failure: Failure, failures: int, now: datetime, rng: "random.Random", *, lifetime: timedelta | None = None
) -> datetime:
    """Return when to try again after the `failures`-th failure of such a kind in a row (from 1), within ±10 %.

    Never before what the CA asked for. `lifetime` of the certificate that serves shortens the waits of lives under
    five days in proportion.
    """
    wait = _scaled(_wait(failure.kind, failures), lifetime) * rng.uniform(1 - _SPREAD, 1 + _SPREAD)
    asked = min(failure.retry_after or timedelta(0), _MAX_RETRY_AFTER)
    named = min(failure.retry_at - now, _MAX_RETRY_AFTER) if failure.retry_at else timedelta(0)
    return now + max(wait, asked, named)


def _wait(kind: FailureKind, failures: int) -> timedelta:
    match kind:
        case FailureKind.VALIDATION | FailureKind.UNUSABLE:  # each of these costs one of few, too
            return _nth(_VALIDATION, failures)
        case FailureKind.CA:
            return _nth(_CA, failures)
        case FailureKind.LOCAL:
            return _nth(_LOCAL, failures)
        case FailureKind.RATE_LIMITED:
            return _nth(_CA, failures)
        case FailureKind.HOST_REFUSED | FailureKind.PAUSED:
            return _DAY
        case FailureKind.ACCOUNT_REFUSED:
            return _HOUR
        case _:
            assert_never(kind)


def _nth(schedule: tuple[timedelta, ...], failures: int) -> timedelta:
    return schedule[min(max(failures, 1), len(schedule)) - 1]


def _scaled(wait: timedelta, lifetime: timedelta | None) -> timedelta:
    if lifetime is None or lifetime >= _FULL_WAITS_FROM:
        return wait
    return max(wait * (lifetime / _FULL_WAITS_FROM), min(_SHORTEST * 10, lifetime / 10), _SHORTEST)
