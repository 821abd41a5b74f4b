"""Does what the fleet decides: orders what is due, bounded, never two orders for one certificate."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import assert_never

from proxyd.certs.certificate import Certificate
from proxyd.core.certificate_state import Blocked, CertificateState, Dormant, Waiting, due_at
from proxyd.core.clock import Clock
from proxyd.core.failure import Failure, FailureKind, IssuanceError
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Lineage, Plan
from proxyd.core.renewal import ends_too_early
from proxyd.core.task import OrderTask, WindowTask
from proxyd.issuance.acme_error import UnfinishedOrder
from proxyd.issuance.commit import Commit
from proxyd.issuance.host_policy import Allowed, HostPolicy, NoMore, NotNow
from proxyd.issuance.issuer import Issuance, Issuer, ReplacesRefused
from proxyd.issuance.keeper import Keeper, TakenBack
from proxyd.issuance.memory import Memory, held_of
from proxyd.issuance.turn import OrderTurn
from proxyd.issuance.window_question import WindowQuestion
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.pending_orders import PendingOrder, PendingOrders
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.renewer")
_CONCURRENT = 16  # of all CAs together; a CA that hangs holds no more than the fleet gives it
_LONGEST_SLEEP = 60.0  # seconds: a clock that was set, or a machine that slept, is noticed after this
_HELD_BACK = timedelta(hours=1)
_LOOK_AT_TURN = 1.0
_MANAGED_AT_ONCE = 10


class Renewer:
    """Keeps one certificate per lineage alive. `is_held`: what time it is is not known, so nothing is begun."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        store: CertificateStore,
        orders: PendingOrders,
        memory: Memory,
        keeper: Keeper,
        policy: HostPolicy,
        turn: OrderTurn,
        clock: Clock,
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        self.fleet = fleet
        self._store = store
        self._orders = orders
        self._memory = memory
        self._keeper = keeper
        self._policy = policy
        self._turn = turn
        self._clock = clock
        self._is_held = is_held
        self._issuer_of: Callable[[Lineage, str], Issuer | None] = lambda _lineage, _name: None
        self._running: dict[Lineage, bool] = {}  # whether the CA has given a certificate

        def issuer_of(lineage: Lineage, name: str) -> Issuer | None:
            return self._issuer_of(lineage, name)  # of the configuration that holds then

        self.commit = Commit(store=store, orders=orders, memory=memory, keeper=keeper, issuer_of=issuer_of)
        self._window = WindowQuestion(fleet=fleet, memory=memory, issuer_of=issuer_of, clock=clock)
        self._held_back: set[Lineage] = set()
        self._changed = asyncio.Event()
        self._told: dict[Lineage, FailureKind] = {}  # postponements that are in the journal
        fleet.postponed = self._postponed

    @property
    def orders_under_way(self) -> int:
        """Return how many orders run now."""
        return len(self._running)

    async def manage(
        self,
        plans: Iterable[Plan],
        issuer_of: Callable[[Lineage, str], Issuer | None],
        certificate: Callable[[Lineage], Certificate | None],
        added: Callable[[Sequence[Lineage]], None],
    ) -> None:
        """Take care of exactly these from now on; known ones keep their state (no retry is won by a reload).

        Few at once, others run in between: none of them is seen before what it has is known, and `added` was told.
        """
        self._issuer_of = issuer_of
        self.fleet.expect(len(wanted := list(plans)))
        known = self.fleet.lineages()
        issued = None if self._memory.knows_history else await asyncio.to_thread(self._store.issued)
        for gone in await asyncio.to_thread(lambda: set(known).difference(plan.lineage for plan in wanted)):
            self.fleet.forget(gone)
        for begin in range(0, len(wanted), _MANAGED_AT_ONCE):
            now = self._clock.now()
            new = self.fleet.update(wanted[begin : begin + _MANAGED_AT_ONCE], now)
            for lineage in new:
                self._memory.recall(self.fleet, lineage, now)
                if issued:
                    self.fleet.issued_before(lineage, issued(lineage.host, lineage.key_family), now)
                if found := certificate(lineage):
                    self.fleet.found(lineage, self._memory.held(lineage, found), now)
                for pending in self._orders.of(lineage):
                    self.fleet.interrupted(lineage, pending.issuer, now)
            added(new)
            await asyncio.sleep(0)
        self._changed.set()

    def add(self, plans: Iterable[Plan]) -> None:
        """Take care of more until the next `manage`."""
        now = self._clock.now()
        for plan in plans:
            if self.fleet.add(plan, now):
                self._memory.recall(self.fleet, plan.lineage, now)
        self._changed.set()

    def wish(
        self, lineage: Lineage, *, forced: bool = False, at: datetime | None = None, hint: str | None = None
    ) -> None:
        """Order now, or at `at`, within the budget; `hint` is the challenge type to try first."""
        self._policy.wished(lineage)
        self.fleet.wish(lineage, self._clock.now(), forced=forced, at=at, hint=hint)
        self._changed.set()

    async def abandon_orders(self, lineage: Lineage) -> list[PendingOrder]:
        """Go on with no order that waits; return all whose keys are in the cache: one that runs is not stopped."""
        kept = self._orders.of(lineage)
        if lineage not in self._running:
            self.fleet.abandoned(lineage)
            await self.commit.abandon_orders(lineage)
        return kept

    def postpone(self, lineage: Lineage, failure: Failure, until: datetime) -> None:
        """Put off a first order."""
        self.fleet.postpone(lineage, failure, until, self._clock.now())
        self._changed.set()

    def left(self, lineage: Lineage) -> None:
        """Spend no more on a name that has left us."""
        self.fleet.left(lineage, self._clock.now())
        self._memory.keep_lineage(self.fleet, lineage)

    def clock_righted(self) -> None:
        """Look at every due time anew: the clock by which they were set was wrong."""
        self._memory.clock_righted(self.fleet, self._clock.now(), orders=self._turn.reason is None)
        self._changed.set()

    async def run(self) -> None:
        """Order what is due, for ever. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                self._begin(group)
                self._policy.review()
                try:
                    async with asyncio.timeout(self._seconds_to_next()):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def found(self, lineage: Lineage, certificate: Certificate) -> None:
        """Say that a certificate that another process obtained serves."""
        self._held_back.discard(lineage)
        self.fleet.found(lineage, self._memory.held(lineage, certificate), self._clock.now())
        self._changed.set()

    async def read_again(self) -> None:
        """Read what the process that ordered until now has left. Does not yet take it over."""
        await asyncio.to_thread(self._memory.read_again)
        await asyncio.to_thread(self._orders.open)

    def take_over(self, certificate: Callable[[Lineage], Certificate | None]) -> None:
        """Go on where the process that ordered until now ended: with its schedules and what it spent."""
        now = self._clock.now()
        for authority in self.fleet.authorities().values():
            self._memory.recall_authority(authority, now)
        for lineage in self.fleet.states():
            serving = certificate(lineage)
            if serving and (held := self._memory.held(lineage, serving)) != self.fleet.held(lineage):
                self.fleet.found(lineage, held, now)
            if lineage in self._held_back:
                self.fleet.wish(lineage, now, at=now)
            self._memory.recall(self.fleet, lineage, now)
            for pending in self._orders.of(lineage):
                self.fleet.interrupted(lineage, pending.issuer, now)
        self._held_back.clear()
        self._changed.set()

    def _begin(self, group: asyncio.TaskGroup) -> None:
        if self._is_held():
            return
        now = self._clock.now()
        if self._turn.reason is not None:
            self._held_back.update(self.fleet.hold_back(self._turn.failure, now + _HELD_BACK, now))
            return
        for task in self.fleet.tasks(now, max(0, _CONCURRENT - len(self._running))):
            match task:
                case OrderTask(lineage=lineage):
                    self._running[lineage] = False
                    group.create_task(self._guarded(task))
                case WindowTask():
                    group.create_task(self._ask_window(task))

    def _seconds_to_next(self) -> float:
        if self._turn.reason is not None or self._is_held():
            return _LOOK_AT_TURN
        # The end of an order or question wakes us.
        at = self.fleet.wake_at(orders=len(self._running) < _CONCURRENT)
        wait = _LONGEST_SLEEP if at is None else (at - self._clock.now()).total_seconds()
        return max(0.01, min(wait, _LONGEST_SLEEP))

    async def _guarded(self, task: OrderTask) -> None:
        """One host's trouble must not stop the others: an error that left this task would end the daemon."""
        try:
            await self._order(task)
        except Exception as error:  # noqa: BLE001 - the root of this task
            _log.exception("issuing failed in an unforeseen way", extra={"host": task.lineage.host})
            message = f"{task.lineage.host}: {type(error).__name__}, see the log; this is a bug of proxyd"
            failure = Failure(kind=FailureKind.LOCAL, message=message)
            self.fleet.failed(task, failure, self._clock.now(), issued=self._running[task.lineage])
        finally:
            self._running.pop(task.lineage, None)
            self._changed.set()

    async def _is_permitted(self, task: OrderTask) -> bool:
        lineage, host = task.lineage, task.lineage.host
        permit, now = await self._policy.permit(lineage), self._clock.now()
        match permit:
            case Allowed():
                return True
            case NotNow(until=until, reason=reason):
                self.fleet.not_sent(task, Failure(kind=FailureKind.LOCAL, message=f"{host}: {reason}"), until, now)
                self._remember(task)
                _log.info("not ordered", extra={"host": host, "reason": reason, "next_try": until})
                self._memory.note("not ordered", host, None, reason=reason, next_try=until)
            case NoMore(reason=reason):
                self.fleet.not_sent(task, Failure(kind=FailureKind.LOCAL, message=f"{host}: {reason}"), now, now)
                await self._forget(lineage, reason)
            case _:
                assert_never(permit)
        return False

    async def _forget(self, lineage: Lineage, reason: str) -> None:
        self.fleet.forget(lineage)
        self.commit.forget(lineage)
        self._memory.give_up(lineage)
        self._policy.forgotten(lineage)
        _log.info("forgotten", extra={"host": lineage.host, "reason": reason})
        self._memory.note("forgotten", lineage.host, None, reason=reason)
        await self.commit.abandon_orders(lineage)

    async def _is_our_turn(self, task: OrderTask) -> bool:
        is_ours, now = await self._turn.confirm(), self._clock.now()
        if not is_ours:
            self.fleet.not_sent(task, self._turn.failure(task.lineage.host), now + _HELD_BACK, now)
            self._held_back.add(task.lineage)
        return is_ours

    async def _is_on_disk(self, task: OrderTask) -> bool:
        lineage, now = task.lineage, self._clock.now()
        if task.forced or task.resumed:
            return False
        found = await self.commit.pick_up(lineage, self.fleet.held(lineage), now)
        if found is not None:
            failure = Failure(kind=FailureKind.LOCAL, message=f"{lineage.host}: the cache has a new certificate")
            self.fleet.not_sent(task, failure, now, now)
            self.found(lineage, found)
        return found is not None

    async def _order(self, task: OrderTask) -> None:
        host = task.lineage.host
        self._told.pop(task.lineage, None)
        if not await self._is_our_turn(task) or await self._is_on_disk(task):
            return
        if not task.resumed and not await self._is_permitted(task):
            return
        kind = "order resumed" if task.resumed else "order started"
        self._memory.note(kind, host, task.issuer, challenges=task.challenges, replaces=task.order.replaces)
        self._memory.keep_authority(self.fleet.authority(task.issuer), self._clock.now())
        await self._send(task)

    async def _send(self, task: OrderTask) -> None:
        host = task.lineage.host
        try:
            await asyncio.to_thread(self._memory.flush)  # what is spent, should we be killed now
            await asyncio.to_thread(self._store.store.probe)  # never ask a CA for what cannot be kept
            issuer = self._issuer_of(task.lineage, task.issuer)
            if issuer is None:  # a reload took the CA away meanwhile
                raise IssuanceError(FailureKind.LOCAL, f"{host}: the CA {task.issuer} is not in the configuration")
            issuance = await self._ask(issuer, task)
            if issuance is None:
                self.fleet.vanished(task, self._clock.now())
                return
            await self._window.learn(issuer, task.issuer)
        except ReplacesRefused as error:
            reason = error.failure.message
            _log.info("not taken as a renewal", extra={"host": host, "issuer": task.issuer, "reason": reason})
            self._memory.note("replaces refused", host, task.issuer, reason=reason)
            again = self.fleet.replaces_refused(task, self._clock.now())
            self._remember(task)
            if again is not None:
                await self._send(again)
        except UnfinishedOrder as error:
            self._failed(task, error.failure, unfinished=True)
        except IssuanceError as error:
            self._failed(task, error.failure, issued=error.is_issued)
        except StoreError as error:
            message = f"{host}: no certificate is ordered, because it could not be kept: {error}"
            self._failed(task, Failure(kind=FailureKind.LOCAL, message=message))
        else:
            await self._keep(task, issuance)

    async def _ask(self, issuer: Issuer, task: OrderTask) -> Issuance | None:
        """Return a certificate, or None when the order that was to be gone on with is over."""
        if not task.resumed:
            return await issuer.issue(task.order, task.challenges)
        pending = self._orders.find(task.issuer, task.lineage)
        return await issuer.resume(task.order, pending, task.challenges) if pending else None

    async def _keep(self, task: OrderTask, issuance: Issuance) -> None:
        lineage, certificate = task.lineage, issuance.certificate
        self._running[lineage] = True
        before = self.fleet.held(lineage)
        held = held_of(certificate, issuer=task.issuer, is_owned=True, account=issuance.account)
        serving = before.validity if before and not task.forced and before.issuer == task.issuer else None
        if ends_too_early(held.validity, serving, self._clock.now()):
            message = f"the CA {task.issuer} sent a certificate that ends before the one that serves: not used"
            await self._issued_in_vain(task, certificate, message)
            return
        await self.commit.keep(lineage, certificate, held)
        if self.fleet.state(lineage) is not None:  # else the host was removed meanwhile
            outcome = await self.commit.use(lineage, certificate, before)
            if isinstance(outcome, TakenBack):
                message = f"the new certificate was taken back: {outcome.reason}"
                await self._issued_in_vain(task, certificate, message, taken_back=True)
                return
        self.fleet.issued(task, held, issuance.challenge, self._clock.now())
        self._remember(task)
        fields = {
            "serial": f"{certificate.serial:x}",
            "not_after": certificate.not_after,
            "renew_at": self.fleet.due(lineage, self._clock.now()),
            "challenge": issuance.challenge,
        }
        _log.info("certificate issued", extra={"host": lineage.host, "issuer": task.issuer, **fields})
        self._memory.note("certificate issued", lineage.host, task.issuer, **fields)
        if isinstance(state := self.fleet.state(lineage), Waiting):
            self._tell_failed(task, state.failure, self._clock.now(), due=True)
        await self.commit.end_orders(lineage, certificate)

    async def _issued_in_vain(self, task: OrderTask, given: Certificate, reason: str, taken_back: bool = False) -> None:
        now = self._clock.now()
        message = f"{task.lineage.host}: {reason}"
        failure = Failure(kind=FailureKind.UNUSABLE, message=message, is_taken_back=taken_back)
        self.fleet.issued_in_vain(task, failure, now)
        self._tell_failed(task, failure, now)
        await self.commit.end_orders(task.lineage, given)

    async def _ask_window(self, task: WindowTask) -> None:
        try:
            await self._window.ask(task)
        finally:
            self._changed.set()

    def _failed(self, task: OrderTask, failure: Failure, *, unfinished: bool = False, issued: bool = False) -> None:
        now = self._clock.now()
        self.fleet.failed(task, failure, now, unfinished=unfinished, issued=issued)
        self._tell_failed(task, failure, now)

    def _tell_failed(self, task: OrderTask, failure: Failure, now: datetime, *, due: bool = False) -> None:
        self._remember(task)
        state = self.fleet.state(task.lineage)
        fields: dict[str, object] = {"kind": failure.kind.value, "reason": failure.message, **_waiting(state, now)}
        extra = {"host": task.lineage.host, "issuer": task.issuer, **fields}
        _log.warning("due at once" if due else "no certificate", extra=extra)
        more = {"problem": failure.problem, "challenge": failure.challenge, "addresses": failure.addresses or None}
        self._memory.note("due at once" if due else "order failed", task.lineage.host, task.issuer, **more, **fields)

    def _postponed(self, lineage: Lineage, failure: Failure, until: datetime) -> None:
        """Record it once until an order is sent: a full bucket puts ten thousand hosts off again and again."""
        if self._told.get(lineage) is not failure.kind:
            self._told[lineage] = failure.kind
            fields = {"kind": failure.kind.value, "reason": failure.message, "next_try": until}
            self._memory.note("postponed", lineage.host, None, **fields)
            self._memory.keep_lineage(self.fleet, lineage)

    def _remember(self, task: OrderTask) -> None:
        self._memory.keep_lineage(self.fleet, task.lineage)
        self._memory.keep_authority(self.fleet.authority(task.issuer), self._clock.now())


def _waiting(state: CertificateState | None, now: datetime) -> dict[str, object]:
    match state:
        case Waiting(failures=failures) | Blocked(failures=failures) | Dormant(failures=failures):
            return {"failures": failures, "next_try": due_at(state, now)}
        case _:
            return {}
