"""How an order that a person waits for ended."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxyd.certs.certificate import Certificate
from proxyd.core.certificate_state import Blocked, Dormant, Missing, Ordering, Ready, Waiting, due_at
from proxyd.core.clock import Clock
from proxyd.core.failure import Failure
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Lineage

_LOOK_SECONDS = 0.1
#: A retry this near is part of the same attempt: another challenge type, another CA.
_SAME_ATTEMPT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The new certificate serves."""

    certificate: Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNow:
    """There is none for now; the next try is at `until`."""

    failure: Failure
    until: datetime


@dataclass(frozen=True, slots=True)
class StillOrdering:
    """The deadline came first."""


Outcome = Renewed | NotNow | StillOrdering


async def outcome(
    lineage: Lineage,
    *,
    replaced: int | None,
    fleet: Fleet,
    serving: Callable[[Lineage], Certificate | None],
    clock: Clock,
    seconds: float,
) -> Outcome:
    """Wait until the lineage serves another certificate than the one with serial `replaced`, or has to wait."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                if found := _ended(lineage, replaced, fleet, serving, clock.now()):
                    return found
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        return StillOrdering()


def _ended(
    lineage: Lineage,
    replaced: int | None,
    fleet: Fleet,
    serving: Callable[[Lineage], Certificate | None],
    now: datetime,
) -> Outcome | None:
    held, shown = fleet.held(lineage), serving(lineage)
    if shown is not None and held is not None and shown.serial == held.serial != replaced:
        return Renewed(certificate=shown)
    match fleet.state(lineage):
        case (Waiting(failure=failure) | Blocked(failure=failure) | Dormant(failure=failure)) as state:
            until = due_at(state, now)
            return None if until is None or until - now < _SAME_ATTEMPT else NotNow(failure=failure, until=until)
        case Ready(refused=Failure(retry_at=until) as failure):
            return NotNow(failure=failure, until=until or now)
        case Missing() | Ordering() | Ready():
            return None
        case None:
            return StillOrdering()  # removed by a reload meanwhile
