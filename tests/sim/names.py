"""The looks at the names of certificates that fail: the real NameWatch, with quiet looks left out.

A look that sees what the last one saw changes nothing, so it is made every 30 s (and at the second try of a wake) only
for three minutes after a failure or a change, and otherwise a few times a day and just before the next change.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from proxyd.core.certificate_state import Blocked, Dormant, Ready, Waiting, due_at
from proxyd.core.clock import Clock
from proxyd.core.dormancy import has_left
from proxyd.core.failure import Failure
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Lineage
from proxyd.core.name_view import NameView, Port80
from proxyd.core.name_watch import EVERY, NameWatch
from proxyd.issuance.memory import Memory
from tests.sim.host import SimHost
from tests.sim.timeline import Timeline

_LIVELY = timedelta(minutes=3)
_SECOND = timedelta(seconds=1)
_SECOND_TRY = timedelta(seconds=66)
_QUIET = timedelta(hours=6)
_JUST_BEFORE = EVERY + _SECOND
_REQUEST_STEP = timedelta(hours=1)


@dataclass(slots=True)
class _Watched:
    watch: NameWatch
    failure: Failure
    lively_until: datetime
    looked_at: datetime
    woken_at: datetime | None = None
    ticks: int = 0  # a newer chain of ticks ends the older one
    kept: object = None


class SimNames:
    """One life of the daemon; stands where issuance/name_watcher.py does, which looks for real."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        memory: Memory,
        clock: Clock,
        timeline: Timeline,
        hosts: Mapping[Lineage, SimHost],
        rng: random.Random,
        left: Callable[[Lineage], None],
    ) -> None:
        self._fleet = fleet
        self._memory = memory
        self._clock = clock
        self._timeline = timeline
        self._hosts = hosts
        self._rng = rng
        self._left = left
        self._watched: dict[Lineage, _Watched] = {}
        self._is_over = False

    def end(self) -> None:
        """The daemon stops."""
        self._is_over = True

    def clock_righted(self) -> None:
        """Look at all again."""
        now = self._clock.now()
        for lineage, seen in self._watched.items():
            seen.watch = seen.watch.righted(lineage.names, now)
            self._enliven(lineage, seen)

    def validated(self, lineage: Lineage) -> None:
        """Say that the CA has just validated the names."""
        addresses, key = self._hosts[lineage].view(self._timeline.now).addresses, f"validated {lineage.host}"
        if addresses and self._memory.document(key).get("addresses") != [*addresses]:
            self._memory.keep_document(key, {"addresses": addresses})

    def notice(self, lineage: Lineage) -> None:
        """See what came of an order."""
        state, now = self._fleet.state(lineage), self._clock.now()
        if isinstance(state, Ready | None):
            if self._watched.pop(lineage, None):
                self._memory.forget_document(_key(lineage))
            return
        if not (isinstance(state, Dormant) or (isinstance(state, Waiting | Blocked) and state.failure.may_be_dns)):
            return
        seen = self._watched.get(lineage)
        if seen is None:
            document = self._memory.document(_key(lineage))
            watch = NameWatch.read(document, lineage.names, now) if document else NameWatch(now)
            seen = self._watched[lineage] = _Watched(watch, state.failure, self._timeline.now, self._timeline.now)
        elif seen.failure is state.failure:
            return
        else:
            seen.watch.failed(now)
            seen.failure = state.failure
        self._enliven(lineage, seen)

    # Looking

    def _enliven(self, lineage: Lineage, seen: _Watched) -> None:
        now = self._timeline.now
        seen.lively_until = now + _LIVELY
        seen.ticks += 1
        at = now + timedelta(seconds=self._rng.uniform(0, 3))
        self._timeline.at(at, partial(self._tick, lineage, seen, seen.ticks))

    def _tick(self, lineage: Lineage, seen: _Watched, ticks: int, now: datetime) -> None:
        if self._is_over or self._watched.get(lineage) is not seen or seen.ticks != ticks:
            return
        believed = self._clock.now()
        state = self._waiting(lineage, believed)
        if state is not None and seen.watch.is_due(believed):
            self._look(lineage, seen, state, believed)
        self._timeline.at(self._next(self._hosts[lineage], seen, now), partial(self._tick, lineage, seen, ticks))

    def _next(self, host: SimHost, seen: _Watched, now: datetime) -> datetime:
        if now < seen.lively_until or host.changed_since(now - _LIVELY, now):
            soon = seen.looked_at + EVERY
            if seen.woken_at and now < seen.woken_at + _SECOND_TRY:
                soon = min(soon, seen.woken_at + _SECOND_TRY)
            return max(soon, now + _SECOND)
        change = host.next_change(now)
        if change is None or now + _QUIET < change - _JUST_BEFORE:
            return now + _QUIET
        if now < change - _JUST_BEFORE:
            return change - _JUST_BEFORE
        return change + EVERY * self._rng.random()

    def _waiting(self, lineage: Lineage, now: datetime) -> Waiting | Blocked | Dormant | None:
        state = self._fleet.state(lineage)
        if not isinstance(state, Dormant) and not (isinstance(state, Waiting | Blocked) and state.failure.may_be_dns):
            return None
        due = due_at(state, now)
        return state if due is not None and due > now else None

    def _look(self, lineage: Lineage, seen: _Watched, state: Waiting | Blocked | Dormant, now: datetime) -> None:
        host, watch = self._hosts[lineage], seen.watch
        seen.looked_at = self._timeline.now
        view = host.view(self._timeline.now)
        wake = watch.look({lineage.host: view}, now)
        validated = self._memory.document(f"validated {lineage.host}").get("addresses")
        known = tuple(str(one) for one in validated) if isinstance(validated, list) else ()
        watch.point_elsewhere({lineage.host: known}, now)
        latest = host.last_request(self._timeline.now)
        if latest and (watch.last_request is None or latest - watch.last_request >= _REQUEST_STEP):
            watch.last_request = min(latest, now)
        if wake is not None:
            self._wake(lineage, seen, view, "; ".join(map(str, wake.changes)) or "once more")
        elif isinstance(state, Dormant):
            if watch.last_request is not None and watch.last_request > state.since:
                self._wake(lineage, seen, view, "a client asked")
        elif self._has_left(lineage, watch, now):
            self._left(lineage)
        if watch.milestone != seen.kept:
            seen.kept = watch.milestone
            self._memory.keep_document(_key(lineage), watch.to_document())

    def _wake(self, lineage: Lineage, seen: _Watched, view: NameView, why: str) -> None:
        self._hosts[lineage].tell(self._timeline.now, f"woken: {why}")
        self._hosts[lineage].asleep_since = None
        self._fleet.wish(lineage, self._clock.now(), hint="http-01" if view.port80 is Port80.OURS else None)
        seen.woken_at = self._timeline.now
        self._enliven(lineage, seen)

    def _has_left(self, lineage: Lineage, watch: NameWatch, now: datetime) -> bool:
        held = self._fleet.held(lineage)
        return has_left(
            pointed_elsewhere_since=watch.elsewhere_since,
            last_request=watch.last_request,
            last_success=held.validity.not_before if held and held.is_owned else None,
            failing_since=watch.failing_since,
            now=now,
        )


def _key(lineage: Lineage) -> str:
    return f"names {lineage.host} {lineage.key_kind}"
