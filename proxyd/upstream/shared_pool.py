"""The pool of an upstream whose bound counts what several processes have under way there."""

import asyncio

from proxyd.core.active_health import ActiveHealth
from proxyd.core.counters import ErrorKind
from proxyd.core.passive_health import PassiveHealth
from proxyd.core.shared_counts import SharedCounts
from proxyd.upstream.dialer import Dialer
from proxyd.upstream.pool import UpstreamPool


class SharedPool(UpstreamPool):
    """`most` is what the other processes leave of it. `name`: what all of them call it."""

    __slots__ = ("_active", "_counts", "_most", "_place")

    def __init__(
        self,
        dialer: Dialer,
        *,
        tasks: asyncio.TaskGroup,
        most: int,
        checked: ActiveHealth | None,
        passive: PassiveHealth,
        errors: dict[ErrorKind, int],
        answers: list[float],
        counts: SharedCounts,
        name: str,
    ) -> None:
        self._counts = counts
        self._active = 0
        self._place = counts.cells(f"upstream {name}")
        super().__init__(
            dialer, tasks=tasks, most=most, checked=checked, passive=passive, errors=errors, answers=answers
        )

    @property
    def active(self) -> int:
        return self._active

    @active.setter
    def active(self, active: int) -> None:
        self._counts.add(self._place, active - self._active)
        self._active = active

    @property
    def under_way(self) -> int:
        return self._counts.count(self._place)

    @property
    def most(self) -> int:
        return self._most - (self.under_way - self._active)

    @most.setter
    def most(self, most: int) -> None:
        self._most = most
