"""Certificates for names under wildcard hosts, each ordered when a client first asks for it."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from proxyd.config.ask_url import AskUrl
from proxyd.core.certifiable import may_be_certified
from proxyd.core.certificate_state import Blocked, Dormant, Waiting, due_at
from proxyd.core.client_network import network_of
from proxyd.core.clock import Clock
from proxyd.core.daily_count import NEW_NAMES, DailyCount
from proxyd.core.fleet import Fleet
from proxyd.core.host_pattern import HostPattern, HostTable
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage, Plan
from proxyd.core.negative_cache import NegativeCache
from proxyd.core.refusal import Refusal
from proxyd.core.throttle import Throttle
from proxyd.core.waiting_room import WaitingRoom
from proxyd.issuance.ask import Answer, Ask, Verdict
from proxyd.issuance.host_policy import Allowed, NoMore, NotNow, Permit
from proxyd.issuance.memory import Memory
from proxyd.issuance.newest_first import NewestFirst
from proxyd.issuance.refusal_report import RefusalReport

_log = logging.getLogger("proxyd.on_demand")
_WAIT_SECONDS = 20.0
_WAIT = timedelta(seconds=_WAIT_SECONDS)
_MAX_ATTEMPTS = 256
_MAX_QUESTIONS = 16  # about new names, besides those before renewals: strangers must not hold these up
_DENIED_SECONDS, _UNREACHABLE_SECONDS = 300.0, 15.0
_ASK_AGAIN = timedelta(days=1)
_UNREACHABLE_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one wildcard host allows; `public`: only names that a public CA could certify."""

    pattern: HostPattern
    ask: AskUrl | None
    max_new_per_day: int
    public: bool


class Outcome(Enum):
    """What became of a name that had no certificate."""

    SERVED = "served"
    UNKNOWN = "unknown"
    LATER = "later"


class _Attempt:
    """The one attempt that all handshakes for a name wait for. `unasked` waits for its turn to put the question."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.unasked: asyncio.Task[None] | None = None
        self.waiting = 0

    def end(self, outcome: Outcome) -> None:
        if not self._ended.done():
            self._ended.set_result(outcome)

    async def outcome(self) -> Outcome:
        """Return how it ended, or LATER after 20 s; once `ask` was asked it goes on without those who wait."""
        self.waiting += 1
        try:
            done, _ = await asyncio.wait((self._ended,), timeout=_WAIT_SECONDS)
        finally:
            self.waiting -= 1
        return self._ended.result() if done else Outcome.LATER


class OnDemand:
    """Implements HostPolicy. Names that got a certificate are lineages of the fleet like all others.

    Unknown names cost bounded memory, and no order, file or journal entry of their own before `ask` allowed them.
    `not_our_turn` says why nothing is ordered here: then no new name is taken.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        memory: Memory,
        clock: Clock,
        plans_for: Callable[[Hostname], Sequence[Plan]],
        manage: Callable[[Sequence[Plan]], None],
        is_served: Callable[[Hostname], bool],
        dropped: Callable[[Hostname], None],
        not_our_turn: Callable[[], str | None],
    ) -> None:
        self._fleet = fleet
        self._memory = memory
        self._clock = clock
        self._plans_for = plans_for
        self._manage = manage
        self._is_served = is_served
        self._dropped = dropped
        self._not_our_turn = not_our_turn
        self._ask = Ask()
        self._questions = NewestFirst(_MAX_QUESTIONS)
        self._report = RefusalReport(memory, clock=clock)
        self._rules: HostTable[Rule | None] = HostTable()
        self._lineages: dict[Hostname, set[Lineage]] = {}
        self._attempts: dict[Hostname, _Attempt] = {}
        self._asked: set[Hostname] = set()  # in the running attempt
        self._wanted: set[Lineage] = set()
        self._refused = NegativeCache()
        self._unanswered = NegativeCache()
        self._throttle = Throttle()
        self._room = WaitingRoom()
        self.created = DailyCount()
        self._is_count_lost = False  # no new name until it is known what the cache has
        self._tasks: asyncio.TaskGroup | None = None

    # What is managed

    def open(self) -> None:
        """Read how many names the last day brought."""
        kept = self._memory.document(NEW_NAMES)
        self._is_count_lost = not kept and not self._memory.knows_history
        self.created.read_document(kept, self._clock.now())

    def cache_read(self) -> None:
        """Hear that it is known what the cache has: without a journal each young certificate is that of a new name."""
        if self._is_count_lost:
            for lineages in self._lineages.values():
                if held := [one for lineage in lineages if (one := self._fleet.held(lineage))]:
                    self.created.add(min(one.validity.not_before for one in held))
            self._memory.keep_document(NEW_NAMES, self.created.to_document(self._clock.now()))
            self._is_count_lost = False

    def use(self, rules: HostTable[Rule | None], plans: Iterable[Plan]) -> None:
        """Take over the rules; `plans` are the names under them that are managed from now on."""
        self._rules = rules
        before, self._lineages = self._lineages, {}
        for plan in plans:
            self._lineages.setdefault(plan.lineage.host, set()).add(plan.lineage)
        self._wanted &= {one for lineages in self._lineages.values() for one in lineages}
        for host in [
            host for host in self._attempts if rules.get(host) is None or host in before.keys() - self._lineages.keys()
        ]:
            self._end(host, Outcome.LATER)

    @property
    def names(self) -> frozenset[Hostname]:
        """Return the names that are managed."""
        return frozenset(self._lineages)

    def refusal(self, host: Hostname) -> Refusal | None:
        """Return why a client that asked for `host` was sent away the last time, as far as it is remembered."""
        return self._report.latest(host)

    async def run(self) -> None:
        """Make attempts until cancelled; who still waits is sent away then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._report.run()
        finally:
            self._tasks = None
            for host in [*self._attempts]:
                self._end(host, Outcome.LATER)
            await asyncio.shield(self._ask.close())

    # Handshakes

    async def wait(self, server_name: str | None, client: str) -> Outcome:
        """Return after at most 20 s what became of a name without certificate. Touches no disk."""
        host = Hostname.from_wire(server_name) if server_name else None
        rule = self._rules.get(host) if host else None
        if host is None or rule is None:
            return Outcome.UNKNOWN
        network = network_of(client)
        if not self._room.enter(host, network):
            return self._refuse(rule, host, "too many handshakes wait", Outcome.LATER)
        try:
            attempt = self._attempts.get(host) or self._knock(host, rule, network, client)
            return await attempt.outcome() if isinstance(attempt, _Attempt) else attempt
        finally:
            self._room.leave(host, network)
            self._give_up(rule, host)

    def _knock(self, host: Hostname, rule: Rule, network: str, client: str) -> _Attempt | Outcome:
        """Return the attempt to wait for, or why there is none."""
        if self._is_served(host):
            return Outcome.SERVED
        if known := self._lineages.get(host):
            self._wanted |= known
            if all(self._rests(one) for one in known):
                return self._refuse(rule, host, "its last order failed", Outcome.LATER)
            return self._attempt(host)
        now = self._clock.monotonic()
        if not may_be_certified(host, public=rule.public):
            return self._refuse(rule, host, "no CA certifies such a name", Outcome.UNKNOWN)
        if standby := self._standby(rule, host):
            return standby
        if self._refused.holds(host, now):
            return self._refuse(rule, host, "refused lately", Outcome.UNKNOWN)
        if self._unanswered.holds(host, now):
            return self._refuse(rule, host, "ask gave no answer lately", Outcome.LATER)
        if self._tasks is None or len(self._attempts) >= _MAX_ATTEMPTS:
            return self._refuse(rule, host, "too many names wait", Outcome.LATER)
        if self._is_day_full(rule, host):
            return self._refuse(rule, host, "max_new_per_day is used up", Outcome.LATER)
        if not self._throttle.take(network, now):
            return self._refuse(rule, host, "too many unknown names from one network", Outcome.LATER, network)
        attempt = self._attempt(host)
        attempt.unasked = self._tasks.create_task(self._try(host, rule, client, attempt))
        return attempt

    def _give_up(self, rule: Rule, host: Hostname) -> None:
        """Do not ask about a name for which nobody waits any more: those who do would wait for that."""
        attempt = self._attempts.get(host)
        if attempt and attempt.unasked and not attempt.waiting:
            attempt.unasked.cancel()
            self._end(host, self._refuse(rule, host, "too many names wait", Outcome.LATER))

    def _standby(self, rule: Rule, host: Hostname) -> Outcome | None:
        """Refuse while another process orders: it could not be ordered here, and would be forgotten at the takeover."""
        why = self._not_our_turn()
        return None if why is None else self._refuse(rule, host, "this daemon does not order", Outcome.LATER, why)

    def _attempt(self, host: Hostname) -> _Attempt:
        return self._attempts.setdefault(host, _Attempt())

    def _end(self, host: Hostname, outcome: Outcome) -> None:
        self._asked.discard(host)
        if attempt := self._attempts.pop(host, None):
            attempt.end(outcome)

    def _refuse(self, rule: Rule, host: Hostname, reason: str, outcome: Outcome, detail: str = "") -> Outcome:
        self._report.count(rule.pattern, host, reason, detail)
        return outcome

    # Attempts

    async def _try(self, host: Hostname, rule: Rule, client: str, attempt: _Attempt) -> None:
        try:
            async with self._questions.turn() if rule.ask else nullcontext():
                attempt.unasked = None
                answer = await self._answer(rule, host)
            outcome = self._judge(host, rule, answer, client)
        except Exception:  # noqa: BLE001 - the root of this task
            _log.exception("a name could not be judged", extra={"host": host})
            outcome = Outcome.LATER
        if outcome is not None:
            self._end(host, outcome)

    async def _answer(self, rule: Rule, host: Hostname) -> Answer:
        if rule.ask is None:
            return Answer(Verdict.ALLOWED, f"{rule.pattern} allows every name")
        return await self._ask.ask(rule.ask, host)

    def _judge(self, host: Hostname, rule: Rule, answer: Answer, client: str) -> Outcome | None:
        """Return how the attempt ends already, or None: the certificate is being ordered."""
        if self._rules.get(host) != rule:  # a reload came between
            return Outcome.LATER
        if standby := self._standby(rule, host):
            return standby
        now = self._clock.monotonic()
        if answer.verdict is Verdict.DENIED:
            self._refused.put(host, now + _DENIED_SECONDS)
            return self._refuse(rule, host, "ask refused", Outcome.UNKNOWN, answer.reason)
        if answer.verdict is Verdict.UNREACHABLE:
            self._unanswered.put(host, now + _UNREACHABLE_SECONDS)
            return self._refuse(rule, host, "ask gave no answer", Outcome.LATER, answer.reason)
        if self._is_day_full(rule, host):
            return self._refuse(rule, host, "max_new_per_day is used up", Outcome.LATER)
        is_new = not self._memory.has_given_up(host)
        if is_new:
            self.created.add(self._clock.now())
            self._memory.keep_document(NEW_NAMES, self.created.to_document(self._clock.now()))
        plans = self._plans_for(host)
        self._lineages[host] = {plan.lineage for plan in plans}
        self._asked.add(host)
        fields = {"client": client, "under": rule.pattern, "reason": answer.reason}
        _log.info("a new name on demand" if is_new else "a name on demand again", extra={"host": host, **fields})
        self._memory.note("new on demand" if is_new else "again on demand", host, None, **fields)
        self._manage(plans)
        return None

    def _is_day_full(self, rule: Rule, host: Hostname) -> bool:
        """A name that failed before was counted then, and its schedule goes on."""
        if self._memory.has_given_up(host):
            return False
        return self._is_count_lost or self.created.total(self._clock.now()) >= rule.max_new_per_day

    # HostPolicy

    def wished(self, lineage: Lineage) -> None:
        """Take a person's wish for a client's."""
        if lineage in self._lineages.get(lineage.host, ()):
            self._wanted.add(lineage)

    async def permit(self, lineage: Lineage) -> Permit:
        """Return whether an order may be sent for a name; listed ones always may."""
        host = lineage.host
        rule = self._rules.get(host)
        if rule is None or lineage not in self._lineages.get(host, ()):
            return Allowed()
        if host in self._asked:  # a moment ago; this is the next challenge type, CA or kind of key
            return Allowed()
        held = self._fleet.held(lineage)
        # With two kinds of keys the second one is ordered when the first serves, and nobody waits any more.
        is_wanted = lineage in self._wanted or any(self._fleet.held(one) for one in self._lineages[host])
        self._wanted.discard(lineage)
        if held is None and not is_wanted:
            return NoMore("it never got a certificate, and nobody asked for it again")
        answer = await self._answer(rule, host)
        now = self._clock.now()
        match answer.verdict:
            case Verdict.ALLOWED:
                if host in self._attempts:
                    self._asked.add(host)
                return Allowed()
            case Verdict.DENIED if held is not None and held.validity.not_after > now:
                return NotNow(min(now + _ASK_AGAIN, held.validity.not_after), f"not renewed: {answer.reason}")
            case Verdict.DENIED:
                self._refused.put(host, self._clock.monotonic() + _DENIED_SECONDS)
                return NoMore(answer.reason)
            case Verdict.UNREACHABLE if held is not None:  # the last good thing keeps serving
                _log.warning("renewed without an answer", extra={"host": host, "reason": answer.reason})
                return Allowed()
            case Verdict.UNREACHABLE:
                return NotNow(now + _UNREACHABLE_AGAIN, answer.reason)

    def review(self) -> None:
        """End the attempts that came to something."""
        for host in [*self._attempts]:
            if self._is_served(host):
                self._end(host, Outcome.SERVED)
            elif (known := self._lineages.get(host)) and all(self._rests(one) for one in known):
                self._end(host, Outcome.LATER)

    def forgotten(self, lineage: Lineage) -> None:
        """Drop the name when it was its last lineage."""
        self._wanted.discard(lineage)
        lineages = self._lineages.get(lineage.host, set())
        lineages.discard(lineage)
        if not lineages:
            self._lineages.pop(lineage.host, None)
            self._dropped(lineage.host)
            self._end(lineage.host, Outcome.LATER)

    def _rests(self, lineage: Lineage) -> bool:
        """Whether nothing comes of it while a handshake could wait."""
        state, now = self._fleet.state(lineage), self._clock.now()
        due = due_at(state, now) if isinstance(state, Waiting | Blocked | Dormant) else None
        return state is None or (due is not None and due > now + _WAIT)
