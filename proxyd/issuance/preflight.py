"""Looks at the names of a host before its first order."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from proxyd.core.certificate_state import CertificateState, Missing, Ordering, Waiting, waits_for_first
from proxyd.core.clock import Clock
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.lineage import Lineage
from proxyd.core.name_view import NameView
from proxyd.core.preflight import Finding, Score, findings
from proxyd.issuance.memory import Memory
from proxyd.issuance.name_look import NameLook, Vantage
from proxyd.issuance.renewer import Renewer

_log = logging.getLogger("proxyd.preflight")
#: So long first orders wait for what the look says, all together: a dead DNS costs no more.
_HOLD = timedelta(seconds=3)
_DELAY = timedelta(minutes=1)  # the schedule's first step
_WORKERS = 8
_IDENTITIES_SECONDS = 3.0
_MOST_NAMES = 10
_HOLDING = Failure(kind=FailureKind.LOCAL, message="the DNS is looked at before the first order")


@dataclass(frozen=True, slots=True)
class _Prediction:
    failure: bool
    definite: bool


class Preflight:
    """Explains first orders, and puts off by a minute, once, those that are sure to fail.

    `identities` asks the first CA of a lineage for its CAA identities; `may_hold` says whether our DNS is the CA's.
    """

    def __init__(
        self,
        *,
        look: NameLook,
        renewer: Renewer,
        memory: Memory,
        vantage: Callable[[Lineage], Vantage],
        identities: Callable[[Lineage], Awaitable[Sequence[str]]],
        may_hold: Callable[[Lineage], bool],
        clock: Clock,
    ) -> None:
        self._look = look
        self._renewer = renewer
        self._memory = memory
        self._vantage = vantage
        self._identities = identities
        self._may_hold = may_hold
        self._clock = clock
        self._queue: deque[Lineage] = deque()
        self._arrived = asyncio.Event()
        self._predictions: dict[Lineage, _Prediction] = {}
        self._scores: dict[str, Score] = {}

    def begin(self, lineages: Iterable[Lineage]) -> None:
        """Look at these before they are ordered, when they never were."""
        until = self._clock.now() + _HOLD
        for lineage in lineages:
            if not isinstance(self._renewer.fleet.state(lineage), Missing):
                continue
            if self._may_hold(lineage):
                self._renewer.postpone(lineage, _HOLDING, until)
            self._queue.append(lineage)
        self._arrived.set()

    async def run(self) -> None:
        """Look, for ever. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())

    @property
    def predicted(self) -> list[Lineage]:
        """Return whose first order is not over yet."""
        return list(self._predictions)

    def mended(self, lineage: Lineage) -> None:
        """Forget what was predicted: something changed since."""
        self._predictions.pop(lineage, None)

    def ended(self, lineage: Lineage, *, failed: bool) -> None:
        """Compare with what came of the order."""
        if (prediction := self._predictions.pop(lineage, None)) is None:
            return
        score = self._score(lineage).count(predicted=prediction.failure, definite=prediction.definite, failed=failed)
        self._scores[_key(lineage)] = score
        self._memory.keep_document(_key(lineage), score.to_document())

    async def _work(self) -> None:
        while True:
            while not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            lineage = self._queue.popleft()
            try:
                await self._check(lineage)
            except Exception:  # noqa: BLE001 - the root of this task: a look must never stop the orders
                _log.exception("the look before the first order failed", extra={"host": lineage.host})
                self._release(lineage)

    async def _check(self, lineage: Lineage) -> None:
        if not _is_before_first(self._renewer.fleet.state(lineage)):
            return
        vantage = self._vantage(lineage)
        views = {
            name: await self._look.look(name, vantage)
            for name in lineage.names[:_MOST_NAMES]
            if not name.text.startswith("*")
        }
        identities = await self._asked(lineage) if any(view.caa for view in views.values()) else ()
        found = [one for name, view in views.items() for one in findings(name, view, identities)]
        definite = any(one.is_definite for one in found)
        self._predictions[lineage] = _Prediction(bool(found), definite)
        delayed = definite and self._delay(lineage, found)
        if not delayed:
            self._release(lineage)
        self._tell(lineage, views.values(), found, delayed=delayed)

    async def _asked(self, lineage: Lineage) -> Sequence[str]:
        try:
            async with asyncio.timeout(_IDENTITIES_SECONDS):
                return await self._identities(lineage)
        except TimeoutError:
            return ()

    def _delay(self, lineage: Lineage, found: Sequence[Finding]) -> bool:
        state = self._renewer.fleet.state(lineage)
        if (
            not self._may_hold(lineage)
            or state is None
            or not waits_for_first(state)
            or not self._score(lineage).is_trusted
        ):
            return False
        text = "; ".join(one.text for one in found if one.is_definite)
        message = f"{lineage.host}: the first order waits a minute, because it would fail: {text}"
        failure = Failure(kind=FailureKind.VALIDATION, message=message, problem="dns")
        self._renewer.postpone(lineage, failure, self._clock.now() + _DELAY)
        self._memory.keep_lineage(self._renewer.fleet, lineage)  # once: not again after a restart
        return True

    def _release(self, lineage: Lineage) -> None:
        state = self._renewer.fleet.state(lineage)
        if isinstance(state, Waiting) and state.failure is _HOLDING:
            self._renewer.wish(lineage)

    def _tell(self, lineage: Lineage, views: Iterable[NameView], found: Sequence[Finding], *, delayed: bool) -> None:
        seen = list(views)
        fields: dict[str, object] = {
            "addresses": sorted({address for view in seen for address in view.addresses or ()}),
            "caa": sorted({str(record) for view in seen for record in view.caa or ()}),
            "port80": {one.address: one.words for view in seen for one in view.reached},
            "findings": [one.text for one in found],
            "delayed": delayed,
        }
        self._memory.note("preflight", lineage.host, None, **fields)
        if found:
            reason = "; ".join(one.text for one in found)
            _log.warning("the first order may fail", extra={"host": lineage.host, "reason": reason, "delayed": delayed})

    def _score(self, lineage: Lineage) -> Score:
        key = _key(lineage)
        if key not in self._scores:
            self._scores[key] = Score.read(self._memory.document(key))
        return self._scores[key]


def _key(lineage: Lineage) -> str:
    return f"preflight {lineage.host}"


def _is_before_first(state: CertificateState | None) -> bool:
    if state is None:
        return False
    return waits_for_first(state) or (isinstance(state, Ordering) and state.failures == 0)
