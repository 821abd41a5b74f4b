"""Watches the names of certificates that fail: a mend ends the wait at once, a name that left us spends no more."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from proxyd.core.certificate_state import Blocked, Dormant, Ready, Waiting, due_at
from proxyd.core.clock import Clock
from proxyd.core.dormancy import has_left
from proxyd.core.failure import Failure
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.look_order import look_order
from proxyd.core.name_view import Port80
from proxyd.core.name_watch import NameWatch, Views
from proxyd.issuance.memory import Memory
from proxyd.issuance.name_look import NameLook, Vantage
from proxyd.issuance.preflight import Preflight
from proxyd.issuance.renewer import Renewer
from proxyd.issuance.validated_addresses import ValidatedAddresses

_log = logging.getLogger("proxyd.names")
_TICK_SECONDS = 1.0
_IDLE_TICK_SECONDS = 3.0
_AT_ONCE = 24
_MOST_NAMES = 100
_REQUEST_STEP = timedelta(hours=1)  # so coarse the last request is kept on disk


class NameWatcher:
    """Looks every 30 s, as far as the resolver's pace allows.

    `last_request` tells when a name was last asked for by a client of this process, None: not yet.
    """

    def __init__(
        self,
        *,
        look: NameLook,
        renewer: Renewer,
        memory: Memory,
        preflight: Preflight,
        validated: ValidatedAddresses,
        vantage: Callable[[Lineage], Vantage],
        last_request: Callable[[Hostname], datetime | None],
        clock: Clock,
    ) -> None:
        self._look = look
        self._renewer = renewer
        self._memory = memory
        self._preflight = preflight
        self._validated = validated
        self._vantage = vantage
        self._last_request = last_request
        self._clock = clock
        self._watches: dict[Lineage, NameWatch] = {}
        self._failures: dict[Lineage, Failure] = {}
        self._looking: set[Lineage] = set()
        self._kept: dict[Lineage, object] = {}

    async def run(self) -> None:
        """Watch, for ever. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._notice()
                for lineage in self._next():
                    self._looking.add(lineage)
                    group.create_task(self._guarded(lineage))
                await asyncio.sleep(_TICK_SECONDS if self._watches else _IDLE_TICK_SECONDS)

    def clock_righted(self) -> None:
        """Look at all again: the clock by which they were looked at was wrong."""
        now = self._clock.now()
        for lineage, watch in self._watches.items():
            self._watches[lineage] = watch.righted(lineage.names, now)

    # What fails

    def _notice(self) -> None:
        """Compare with what the renewer knows: which certificates fail now, which of them failed again."""
        now = self._clock.now()
        states = self._renewer.fleet.states()
        for lineage in self._preflight.predicted:
            if isinstance(states.get(lineage), Ready):
                self._preflight.ended(lineage, failed=False)
        for lineage in list(self._watches):
            if isinstance(states.get(lineage), Ready | None):
                self._forget(lineage)
        for lineage, state in states.items():
            if isinstance(state, Dormant) or (isinstance(state, Waiting | Blocked) and _trouble(state).may_be_dns):
                self._failed(lineage, state, now)

    def _failed(self, lineage: Lineage, state: Waiting | Blocked | Dormant, now: datetime) -> None:
        if _trouble(state) is self._failures.get(lineage):
            return
        self._failures[lineage] = _trouble(state)
        if state.failures:
            self._preflight.ended(lineage, failed=True)
        if watch := self._watches.get(lineage):
            watch.failed(now)
            return
        document = self._memory.document(_key(lineage))
        known = document.get("names", _names(lineage)) == _names(lineage)  # or of the host with other aliases
        self._watches[lineage] = NameWatch.read(document, lineage.names, now) if document and known else NameWatch(now)

    def _forget(self, lineage: Lineage) -> None:
        del self._watches[lineage]
        self._failures.pop(lineage, None)
        self._kept.pop(lineage, None)
        self._memory.forget_document(_key(lineage))

    # Looking

    def _next(self) -> list[Lineage]:
        now = self._clock.now()
        due = [
            (lineage, watch.failed_at, watch.looked_at)
            for lineage, watch in self._watches.items()
            if lineage not in self._looking and watch.is_due(now) and self._waiting(lineage, now)
        ]
        return look_order(due)[: max(0, _AT_ONCE - len(self._looking))]

    def _waiting(self, lineage: Lineage, now: datetime) -> Waiting | Blocked | Dormant | None:
        """Return the state of a lineage whose wait a mend of its names would shorten."""
        state = self._renewer.fleet.state(lineage)
        if not isinstance(state, Dormant) and not (isinstance(state, Waiting | Blocked) and _trouble(state).may_be_dns):
            return None
        due = due_at(state, now)
        return state if due is not None and due > now else None

    async def _guarded(self, lineage: Lineage) -> None:
        try:
            await self._look_at(lineage)
        except Exception:  # noqa: BLE001 - the root of this task: one name's trouble must not end the daemon
            _log.exception("a look at a name failed", extra={"host": lineage.host})
        finally:
            self._looking.discard(lineage)

    async def _look_at(self, lineage: Lineage) -> None:
        failure, vantage = self._failures.get(lineage), self._vantage(lineage)
        names = [name for name in lineage.names[:_MOST_NAMES] if not name.text.startswith("*")]
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(self._look.look(name, vantage)) for name in names}
        watch, now = self._watches.get(lineage), self._clock.now()
        state = self._waiting(lineage, now)
        if watch is None or state is None or _trouble(state) is not failure:
            return  # an order ran meanwhile
        views = {name: task.result() for name, task in tasks.items()}
        if not watch.views:
            self._memory.note("dns seen", lineage.host, None, **_told(views))
        wake = watch.look(views, now)
        watch.point_elsewhere({name: self._validated.of(name) for name in names}, now)
        self._note_requests(lineage, watch, now)
        if wake is not None:
            why = [str(change) for change in wake.changes] or [
                "the last change once more: the CA may have seen it late"
            ]
            self._wake(lineage, state, why, views)
        elif isinstance(state, Dormant):
            if watch.last_request is not None and watch.last_request > state.since:
                self._wake(lineage, state, [f"a client asked for it at {watch.last_request:%Y-%m-%d %H:%M} UTC"], views)
        elif self._has_left(lineage, watch, now):
            self._leave(lineage, watch)
        self._keep(lineage, watch)

    def _wake(self, lineage: Lineage, state: Waiting | Blocked | Dormant, why: Sequence[str], views: Views) -> None:
        was_dormant = isinstance(state, Dormant)
        extra = {"host": lineage.host, "reason": "; ".join(why)}
        _log.info("woken: ordering now" if was_dormant else "names changed: ordering now", extra=extra)
        self._memory.note("woken" if was_dormant else "names changed", lineage.host, None, changes=why, **_told(views))
        self._preflight.mended(lineage)
        is_open = all(view.port80 is Port80.OURS for view in views.values())
        self._renewer.wish(lineage, hint="http-01" if is_open else None)

    # Dormancy

    def _note_requests(self, lineage: Lineage, watch: NameWatch, now: datetime) -> None:
        times = [at for name in lineage.names if (at := self._last_request(name)) is not None]
        latest = max(times, default=None)
        if latest and (watch.last_request is None or latest - watch.last_request >= _REQUEST_STEP):
            watch.last_request = min(latest, now)

    def _has_left(self, lineage: Lineage, watch: NameWatch, now: datetime) -> bool:
        held = self._renewer.fleet.held(lineage)
        return has_left(
            pointed_elsewhere_since=watch.elsewhere_since,
            last_request=watch.last_request,
            last_success=held.validity.not_before if held and held.is_owned else None,
            failing_since=watch.failing_since,
            now=now,
        )

    def _leave(self, lineage: Lineage, watch: NameWatch) -> None:
        since = {"elsewhere_since": watch.elsewhere_since, "failing_since": watch.failing_since}
        seen = _told(watch.views)
        _log.warning(
            "dormant: the name has left us; one order a week until its DNS comes back",
            extra={"host": lineage.host, "addresses": seen["addresses"], **since},
        )
        then = {str(name): self._validated.of(name) for name in lineage.names}
        self._memory.note(
            "dormant", lineage.host, None, last_request=watch.last_request, validated=then, **since, **seen
        )
        self._renewer.left(lineage)

    def _keep(self, lineage: Lineage, watch: NameWatch) -> None:
        if self._kept.get(lineage) != (milestone := watch.milestone):
            self._kept[lineage] = milestone
            self._memory.keep_document(_key(lineage), {**watch.to_document(), "names": _names(lineage)})


def _trouble(state: Waiting | Blocked | Dormant) -> Failure:
    """A limit that puts the next order off is no reason to look away."""
    return state.trouble if isinstance(state, Waiting) else state.failure


def _key(lineage: Lineage) -> str:
    return f"names {lineage.host} {lineage.key_kind}"


def _names(lineage: Lineage) -> list[str]:
    return sorted(name.text for name in lineage.names)


def _told(views: Views) -> dict[str, object]:
    return {
        "addresses": {str(name): view.addresses for name, view in views.items()},
        "caa": {str(name): [str(one) for one in view.caa or ()] for name, view in views.items()},
        "port80": {one.address: one.words for view in views.values() for one in view.reached},
        "trouble": next((view.trouble for view in views.values() if view.trouble), None),
    }
