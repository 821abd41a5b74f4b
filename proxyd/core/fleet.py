"""The deciding half of the renewer: what to do next for every host. No I/O, no clock: a simulation can live in it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from proxyd.core.authority import Authority
from proxyd.core.certificate_state import (
    Blocked,
    Dormant,
    Failed,
    LeftUs,
    Obtained,
    Ordering,
    Postponed,
    Ready,
    Waiting,
    WindowLearned,
    Wished,
    is_dormant,
    settled,
    step,
    waits_for_ca,
    waits_for_first,
    waits_for_us,
)
from proxyd.core.failure import Failure, FailureKind
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.member import Member
from proxyd.core.placement import Placement
from proxyd.core.rate_ledger import CaLimits
from proxyd.core.renewal import RenewalWindow, ask_again_at, is_ending, renew_at, spread
from proxyd.core.task import OrderTask

#: Failures that say nothing about the host.
_PASSING = (FailureKind.LOCAL, FailureKind.CA, FailureKind.RATE_LIMITED, FailureKind.UNUSABLE)
#: Failures that another CA may not have.
_UNABLE = {*FailureKind} - {FailureKind.VALIDATION, FailureKind.LOCAL, FailureKind.UNUSABLE}
#: Failures that a changed configuration may end.
_BLOCKING = (FailureKind.HOST_REFUSED, FailureKind.ACCOUNT_REFUSED)


class Fleet(Placement):
    """Moves every managed certificate through its states. The caller does the tasks and reports how they ended."""

    # What is managed

    def update(self, plans: Iterable[Plan], now: datetime) -> list[Lineage]:
        """Take care of these too, as their plans now say; return those that are new.

        Known ones keep their state, so that no retry is won by a reload; a changed plan ends what it may have mended.
        """
        new = []
        for plan in plans:
            member = self._members.get(plan.lineage)
            if member is None:
                self.add(plan, now)
                new.append(plan.lineage)
            elif member.plan != plan:
                mended, was_foreign = member.mended_by(plan), not member.is_from_plan
                member.plan, member.ca, member.asked_ca = plan, 0, 0
                if was_foreign and not isinstance(member.state, Ordering) and not self._is_wanted(member, now):
                    self._ready(plan.lineage, member, now)  # its CA is the right one again
                elif mended:
                    member.tried = ()
                    self._event(plan.lineage, Wished(), now)
                else:
                    self._schedule(plan.lineage, now)  # in the line of another CA
        return new

    def add(self, plan: Plan, now: datetime) -> bool:
        """Take care of one more; return whether it is new."""
        if plan.lineage in self._members:
            return False
        self._members[plan.lineage] = Member(plan=plan)
        self._namesakes.add(plan.lineage)
        self._schedule(plan.lineage, now)
        return True

    def forget(self, lineage: Lineage) -> None:
        """Take care of it no longer."""
        if member := self._members.pop(lineage, None):
            self._leaving = {one: left for one, left in self._leaving.items() if one in self._under_way}
            if lineage in self._under_way:
                self._leaving[lineage] = replace(member)
            self._free_slot(member)
            self._namesakes.remove(lineage)
            self._orders.drop(lineage)
            self._windows.drop(lineage)

    def found(self, lineage: Lineage, held: Held, now: datetime) -> None:
        """Say that a certificate serves already: from the store at start, or made by another process."""
        member = self._members.get(lineage)
        if member is None:
            return
        self._holds(member, held, now)
        waits = isinstance(member.state, Waiting | Blocked | Dormant)
        is_same = member.known_place is not None and member.known_place[0] == held.serial
        if not waits or (not member.is_due(now) and not is_same):
            self._ready(lineage, member, now)
        else:  # what failed is not forgotten by a restart
            self._schedule(lineage, now)

    def issued_before(self, lineage: Lineage, times: Collection[datetime], now: datetime) -> None:
        """Say when certificates of it began; which CA gave them nobody knows: it may have been any of the plan."""
        for issuer in self._members[lineage].plan.issuers if times else ():
            self.authority(issuer).recall_issued(self.next_order(lineage, now), times, now)

    def restore(self, lineage: Lineage, document: Mapping[str, object], now: datetime) -> None:
        """Take over what `document` gave; a plan that changed since ends what it may have mended, as `update` does."""
        member = self._members.get(lineage)
        if member is not None:
            mended = member.restore(document)
            member.state = settled(member.state, now, self._rng)
            if mended:
                member.tried = ()
                self._event(lineage, Wished(), now)
            else:
                self._schedule(lineage, now)

    def clock_righted(self, now: datetime) -> None:
        """Say that the time was wrong until now: nothing waits for what it set, or failed because of it."""
        for name, authority in self._authorities.items():
            authority.settle(now)
            self._release(name, now)
        for lineage, member in self._members.items():
            member.state = settled(member.state, now, self._rng)
            if member.ask_ari_at is not None:
                member.ask_ari_at = min(member.ask_ari_at, ask_again_at(now, timedelta.max))
            match member.state, member.held:
                case Waiting(failure=failure), Held() if failure.kind in _PASSING and not member.is_due(now):
                    self._ready(lineage, member, now)  # it was due by the wrong time only
                case Waiting(failure=failure), _ if failure.kind is FailureKind.LOCAL:
                    self._event(lineage, Wished(), now)
                case Ready(renew_at=at), Held(validity=validity) if member.is_placed_late or not (
                    validity.not_before <= at <= validity.not_after
                ):
                    self._ready(lineage, member, now)
                case Ordering(), Held() if not member.is_due(now):
                    self._by_wrong_time.add(lineage)
                case _:
                    self._schedule(lineage, now)

    def allow(self, issuer: str, limits: CaLimits | None, now: datetime) -> Authority:
        """Hold to these limits of a CA from now on; who waits for others looks again."""
        authority = self.authority(issuer, limits)
        for lineage, member in self._members.items() if authority.allow(limits, now) else ():
            if issuer in member.plan.issuers and waits_for_us(member.state):
                self._event(lineage, Wished(), now)
        return authority

    # What is wished

    def wish(
        self,
        lineage: Lineage,
        now: datetime,
        *,
        forced: bool = False,
        at: datetime | None = None,
        hint: str | None = None,
    ) -> None:
        """Order at the next chance, before those for whom nobody waits; or at `at`, in the line. Within the budget.

        `forced` passes our own ceiling once, never the CA's limits; `hint`: the challenge type to try first this time.
        """
        if member := self._members.get(lineage):
            member.forced, member.hint, member.urgent = forced, hint, at is None
            self._event(lineage, Wished(at, is_extra=True), now)

    def interrupted(self, lineage: Lineage, issuer: str, now: datetime) -> None:
        """Say that an order at `issuer` was cut off by a stop."""
        if member := self._members.get(lineage):
            member.interrupted = issuer
            self._event(lineage, Wished(), now)

    def abandoned(self, lineage: Lineage) -> None:
        """Say that no order of a lineage is gone on with."""
        if member := self._members.get(lineage):
            member.interrupted = None

    def postpone(self, lineage: Lineage, failure: Failure, until: datetime, now: datetime) -> None:
        """Put off a first order; costs no failure, and never touches what runs, serves or failed already."""
        member = self._members.get(lineage)
        if member and (waits_for_first(member.state)):
            self._event(lineage, Postponed(failure, until), now)

    def left(self, lineage: Lineage, now: datetime) -> None:
        """Say that the name has left us (core/dormancy.py)."""
        self._event(lineage, LeftUs(), now)

    # How it ended

    def issued(self, task: OrderTask, held: Held, challenge: str | None, now: datetime) -> None:
        """Say that the order gave a certificate, proved by `challenge` (None: the CA asked for no proof)."""
        self._ended(task, now)
        freed = self.authority(task.issuer).succeeded(task.order, now)
        if member := self._members.get(task.lineage):
            self._holds(member, held, now)
            member.ca, member.tried = 0, ()
            member.wish_is_over()
            member.interrupted, member.in_vain = None, False
            member.worked = challenge or member.worked
            if member.is_from_plan and now >= renew_at(held.validity, None, spread(task.lineage.host)):
                self._came_late(task, member, held, now)
            else:
                self._ready(task.lineage, member, now)
            for twin in self._namesakes.twins(task.lineage):
                state, tried = self._members[twin].state, self._members[twin].tried
                if isinstance(state, Waiting) and state.failure.kind is FailureKind.VALIDATION and not tried:
                    self._event(twin, Wished(), now)  # it waited for what is proved now
        if freed:
            self._release(task.issuer, now)

    def issued_in_vain(self, task: OrderTask, failure: Failure, now: datetime) -> None:
        """Say that the order gave a certificate that must not serve; our ceiling counts it, always."""
        self._ended(task, now)
        self.authority(task.issuer).succeeded(task.order, now)
        if member := self._known(task.lineage):
            member.interrupted, member.in_vain = None, True
            self._gave_none(task.lineage, member, failure, now)

    def vanished(self, task: OrderTask, now: datetime) -> None:
        """Say that nothing can come of the interrupted order any more: a new one is placed, within the budget."""
        failure = Failure(kind=FailureKind.CA, message=f"{task.order.host}: the interrupted order is over")
        self._ended(task, now)
        self.authority(task.issuer).vanished(task.order, now)
        if member := self._members.get(task.lineage):
            member.interrupted, member.ca = None, 0
            self._event(task.lineage, Postponed(failure, now), now)

    def failed(
        self,
        task: OrderTask,
        failure: Failure,
        now: datetime,
        *,
        unfinished: bool = False,
        issued: bool = False,
    ) -> None:
        """Say that the order gave none; `unfinished`: it may yet, when it is gone on with.

        `issued`: the CA gave one that is of no use: it counts.
        """
        member = self._known(task.lineage)
        is_same = task.asked_as == self.authority(task.issuer).asked_as
        is_same = is_same and member is not None and member.plan.fingerprint == task.fingerprint
        if failure.kind in _BLOCKING and not is_same and not issued:
            self.not_sent(task, failure, now, now)  # the CA refused what a new configuration has changed meanwhile
            return
        is_needless = task.lineage in self._by_wrong_time and failure.kind in _PASSING
        is_needless |= (
            member is not None and task.issuer not in member.plan.issuers and not self._is_wanted(member, now)
        )
        self._ended(task, now)
        if issued:
            self.authority(task.issuer).gave(task.order, now)
        if self.authority(task.issuer).failed(task.order, failure, now, paid=unfinished or issued):
            self._release(task.issuer, now)
        if member is None:
            return
        member.in_vain |= issued
        if task.lineage not in self._members:  # it left: for when it comes back
            member.other_challenge(failure)
            self._gave_none(task.lineage, member, failure, now)
            return
        if unfinished:
            member.interrupted = task.issuer
        elif member.interrupted == task.issuer:
            member.interrupted = None
        if _is_unable(failure) and member.has_other_ca:
            member.ca += 1
            self._event(task.lineage, Postponed(failure, now, was_sent=True), now)
            return
        if failure.kind is FailureKind.VALIDATION:
            again = member.other_challenge(failure)
            if again and not is_dormant(member.state):
                self._event(task.lineage, Postponed(failure, now, was_sent=True), now)
                return
        if is_needless and not unfinished:
            self._ready(task.lineage, member, now)
        else:
            self._gave_none(task.lineage, member, failure, now)

    def replaces_refused(self, task: OrderTask, now: datetime) -> OrderTask | None:
        """Say that the CA takes no order in the place of that certificate (RFC 9773 §5): no trouble of the CA.

        Return what is sent instead at once, or None: nothing, because the CA's limits hold for an order without it.
        """
        order, authority = replace(task.order, replaces=None, account=None), self.authority(task.issuer)
        if member := self._members.get(task.lineage):
            member.refused_replaces = task.order.replaces
        if refused := authority.instead(order, now):
            self._ended(task, now)
            if member:
                self._put_off(task.lineage, member, refused, now)
            return None
        return replace(task, order=order)

    def not_sent(self, task: OrderTask, failure: Failure, until: datetime, now: datetime) -> None:
        """Say that the order was not sent after all, and may be from `until` on."""
        self._ended(task, now)
        if not task.resumed:
            self.authority(task.issuer).not_sent(task.order)
        self._event(task.lineage, Postponed(failure, until), now)

    def window(
        self, lineage: Lineage, cert_id: str, window: RenewalWindow | None, retry_after: timedelta | None, now: datetime
    ) -> None:
        """Say what the CA told of its window; None: nothing usable. A window of another certificate is dropped."""
        asked = self._asked.pop(lineage, None)
        member = self._members.get(lineage)
        if member is None:
            return
        member.asking = False
        state, held, before = member.state, member.held, member.known_window
        if held is None or held.cert_id != cert_id:
            self._schedule(lineage, now)  # the certificate was replaced meanwhile: the new one's window is asked for
            return
        if window is not None and not window.is_for(cert_id, held.validity):
            window = None
        if before is not None and before.cert_id != cert_id:
            before = None
        member.known_window = before
        member.window_told(window, retry_after, now, by=asked)
        kept = member.known_window
        is_news = kept != before or member.held != held
        match state:
            case Ready():
                at = state.planned or state.renew_at
                if kept != state.window:
                    at = self._place(lineage, member, held, kept, now)
                self._event(lineage, WindowLearned(renew_at=at, window=kept), now)
            case Waiting(failure=failure) if is_news and failure.kind is FailureKind.RATE_LIMITED:
                at = renew_at(
                    held.validity, kept, spread(lineage.host)
                )  # a limit may not hold in the window, or for a renewal
                self._event(lineage, Wished(max(at, now)), now)
            case _:
                self._schedule(lineage, now)

    # Inside

    def _holds(self, member: Member, held: Held, now: datetime) -> None:
        member.held = held
        if member.known_window is not None and member.known_window.cert_id != held.cert_id:
            member.known_window = None
        may_ask = held.cert_id and (held.issuer is None or held.issuer in self._authorities)
        member.ask_ari_at, member.asked_ca = now if may_ask else None, 0

    @staticmethod
    def _is_wanted(member: Member, now: datetime) -> bool:
        """Return whether another certificate is wanted, whatever was tried meanwhile."""
        return member.held is None or not member.is_from_plan or member.is_due(now)

    def _ready(self, lineage: Lineage, member: Member, now: datetime) -> None:
        held, window = member.held, member.known_window
        if held is None:
            return
        at = self._place(lineage, member, held, window, now) if member.is_from_plan else now
        self._event(lineage, Obtained(renew_at=at, window=window), now)

    def _gave_none(self, lineage: Lineage, member: Member, failure: Failure, now: datetime) -> None:
        member.ca = 0
        member.wish_is_over()
        lifetime = member.held.validity.lifetime if member.held else None
        member.state = step(member.state, Failed(failure=failure, lifetime=lifetime), now, self._rng)
        if lineage in self._members:
            self._schedule(lineage, now)

    def _came_late(self, task: OrderTask, member: Member, held: Held, now: datetime) -> None:
        """It serves, but the next one may be no better: ordered as after a failure, and by half of what is left."""
        begin, end = (f"{at:%Y-%m-%d %H:%M}" for at in (held.validity.not_before, held.validity.not_after))
        message = (
            f"{task.lineage.host}: the certificate that the CA {task.issuer} gave serves, but is to be renewed already "
            f"(valid from {begin} to {end} UTC): check the CA's clock, and how long it lets certificates live"
        )
        # One that a stop kept from being fetched in time says nothing about the CA.
        next_at = None if task.resumed else now + (held.validity.not_after - now) / 2
        failure = Failure(kind=FailureKind.UNUSABLE, message=message, retry_at=next_at)
        member.in_vain = is_ending(held.validity, now)
        self._place(task.lineage, member, held, None, now)
        self._event(task.lineage, Failed(failure=failure, lifetime=held.validity.lifetime), now)

    def _release(self, issuer: str, now: datetime) -> None:
        """The CA works again: nobody has to wait out a time that was chosen because it did not."""
        for lineage, member in self._members.items():
            if issuer in member.plan.issuers and waits_for_ca(member.state):
                self._event(lineage, Wished(), now)


def _is_unable(failure: Failure) -> bool:
    """Whether another CA may give what this one did not; a CAA record forbids one, and perhaps not the next."""
    if failure.kind is FailureKind.VALIDATION:
        return failure.problem == "caa"
    return failure.kind in _UNABLE or failure.is_of_one_ca
