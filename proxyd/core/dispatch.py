"""Which orders and questions are begun now: what is due, and may be sent by the CA's limits and our own ceiling."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from proxyd.core.certificate_order import CertificateOrder
from proxyd.core.certificate_state import Event, Postponed, Started, Waiting, due_at, step
from proxyd.core.circuit_breaker import ceiling
from proxyd.core.failure import Failure
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.member import Member
from proxyd.core.namesakes import Namesakes
from proxyd.core.order_queue import OrderQueue
from proxyd.core.renewal import ending_from
from proxyd.core.roster import Roster
from proxyd.core.task import OrderTask, Task, WindowTask

if TYPE_CHECKING:
    import random

#: In one call: with a whole fleet put off by a limit, requests must not wait for a look at everybody.
_LOOKS_AT_ONCE = 200
_HALF_DAY = timedelta(hours=12)


class Dispatch(Roster):
    """A roster with due times. What it begins is for the caller to do."""

    def __init__(
        self,
        *,
        rng: "random.Random",
        registered_domain: Callable[[Hostname], str],
        orders_per_ca: int = sys.maxsize,
        windows_per_ca: int = sys.maxsize,
    ) -> None:
        super().__init__(registered_domain=registered_domain)
        self._rng = rng
        self._orders_per_ca, self._windows_per_ca = orders_per_ca, windows_per_ca
        self._under_way: dict[Lineage, str] = {}  # at which CA
        self._asked: dict[Lineage, str] = {}  # which CA, for its window
        self._by_wrong_time: set[Lineage] = set()  # orders under way that are not due by the right one
        self._namesakes = Namesakes()
        self._orders = OrderQueue()
        self._windows = OrderQueue()
        #: Told of every order that is due and not sent: why, and from when on it may be.
        self.postponed: Callable[[Lineage, Failure, datetime], None] = lambda _lineage, _failure, _until: None

    def wake_at(self, *, orders: bool = True, windows: bool = True) -> datetime | None:
        """Return when the next task of these kinds may be due."""
        at_orders = self._orders.next_at(self._full()) if orders else None
        times = [at_orders, self._windows.next_at(self._all_asked()) if windows else None]
        return min((at for at in times if at is not None), default=None)

    def tasks(self, now: datetime, room: int, windows: int = sys.maxsize) -> list[Task]:
        """Return what shall be begun now, who is urgent first, then longest overdue; it counts as begun.

        At most `room` orders, and questions for `windows` windows: after a restart those of a whole fleet are due. Of
        one CA no more of either than it may have under way.
        """
        tasks: list[Task] = []
        looks = 0
        while len(tasks) < room and looks < _LOOKS_AT_ONCE and (lineage := self._orders.take(now, self._full())):
            looks += 1
            member = self._members[lineage]
            due = due_at(member.state, now)
            if due is None or due > now:
                self._schedule(lineage, now)
            elif order := self._order(lineage, member, now):
                tasks.append(order)
        while windows > 0 and (lineage := self._windows.take(now, self._all_asked())):
            if window := self._ask(lineage, self._members[lineage], now):
                tasks.append(window)
                windows -= 1
        return tasks

    def hold_back(self, failure: Callable[[Hostname], Failure], until: datetime, now: datetime) -> list[Lineage]:
        """Put off every order that is due, because none may be sent from here; return whose they are."""
        held_back = []
        while lineage := self._orders.take(now):
            due = due_at(self._members[lineage].state, now)
            if due is not None and due <= now:
                self._event(lineage, Postponed(failure(lineage.host), until), now)
                held_back.append(lineage)
            else:
                self._schedule(lineage, now)
        return held_back

    def refusal(self, lineage: Lineage, now: datetime) -> tuple[Failure, datetime] | None:
        """Return why an order would not be sent now and from when on it may be, or None."""
        member = self._members.get(lineage)
        return self._refusal(member, self._next_order(member, now), now) if member else None

    def ceiling_until(self, lineage: Lineage, now: datetime) -> datetime:
        """Return until when our own ceiling refuses an order; `now`: it does not."""
        refused = self.refusal(lineage, now)
        return refused[1] if refused and refused[0].is_ceiling else now

    def next_order(self, lineage: Lineage, now: datetime) -> CertificateOrder:
        """Return what would be ordered next. Raises KeyError for one that nobody takes care of."""
        return self._next_order(self._members[lineage], now)

    # Inside

    def _order(self, lineage: Lineage, member: Member, now: datetime) -> OrderTask | None:
        if self._namesakes.waits(lineage):
            return None
        left_at = member.interrupted
        if left_at in member.plan.issuers[member.ca :] and not self.authority(left_at).is_spared(now):
            member.ca = member.plan.issuers.index(left_at)
            if member.issuer in self._full():
                self._schedule(lineage, now)
                return None
            self.authority(left_at).asked(now)
            return self._task(lineage, member, self._next_order(member, now), now, resumed=True)
        if failed := self._twin_failed(lineage, member, now):
            self._put_off(lineage, member, failed, now)
            return None
        order = self._next_order(member, now)
        refused = self._refusal(member, order, now)
        # Where our ceiling refuses, the CA is able and the wish is too much; unless what it gave is of no use.
        while refused and member.has_other_ca and (member.in_vain or not refused[0].is_ceiling):
            member.ca += 1
            order = self._next_order(member, now)
            refused = self._refusal(member, order, now)
        if refused:
            self._put_off(lineage, member, refused, now)
            return None
        if member.issuer in self._full():  # the one that the attempt has come to: it waits in that line
            self._schedule(lineage, now)
            return None
        self.authority(member.issuer).started(order, now)
        return self._task(lineage, member, order, now)

    def _put_off(self, lineage: Lineage, member: Member, refused: tuple[Failure, datetime], now: datetime) -> None:
        failure, until = refused
        until = max(self.authority(member.issuer).turn(until), now + timedelta(seconds=1))
        member.ca = 0
        if failure.is_ceiling:
            member.wish_is_over()
        self._event(lineage, Postponed(failure, until, ends_wish=failure.is_ceiling), now)
        self.postponed(lineage, failure, until)

    def _task(
        self, lineage: Lineage, member: Member, order: CertificateOrder, now: datetime, *, resumed: bool = False
    ) -> OrderTask:
        self._namesakes.began(lineage)
        self._under_way[lineage] = member.issuer
        self._event(lineage, Started(), now)
        return OrderTask(
            lineage=lineage,
            issuer=member.issuer,
            order=order,
            challenges=member.challenges(),
            forced=member.forced,
            resumed=resumed,
            fingerprint=member.plan.fingerprint,
            asked_as=self.authority(member.issuer).asked_as,
        )

    def _full(self) -> set[str]:
        """Return the CAs that have as many orders under way as they may."""
        return _at_least(self._orders_per_ca, self._under_way)

    def _all_asked(self) -> set[str]:
        """Return the CAs that are asked for as many windows as they may be: orders go on while these hang."""
        return _at_least(self._windows_per_ca, self._asked)

    def _ended(self, task: OrderTask, now: datetime) -> None:
        self._under_way.pop(task.lineage, None)
        self._by_wrong_time.discard(task.lineage)
        for lineage in self._namesakes.ended(task.lineage):
            if lineage in self._members:
                self._schedule(lineage, now)

    def _next_order(self, member: Member, now: datetime) -> CertificateOrder:
        order = member.next_order(has_ari=self.authority(member.issuer).has_ari, now=now)
        if not order.is_renewal and self._twin_is_from(member):  # the CA looks at the names, not at the key
            return replace(order, is_renewal=True)
        return order

    def _twin_is_from(self, member: Member) -> bool:
        """Return whether the CA that the attempt has come to gave one for the same names, with another key kind."""
        others = (self._members[twin].held for twin in self._namesakes.twins(member.plan.lineage))
        return any(held is not None and held.issuer == member.issuer for held in others)

    def _twin_failed(self, lineage: Lineage, member: Member, now: datetime) -> tuple[Failure, datetime] | None:
        """Two key kinds of the same names have one schedule: what one could not prove the other does not try."""
        for twin in () if member.tried else self._namesakes.twins(lineage):
            other = self._members[twin]
            if other.tried and isinstance(other.state, Waiting):
                return other.state.failure, other.state.retry_at
        return None

    def _refusal(self, member: Member, order: CertificateOrder, now: datetime) -> tuple[Failure, datetime] | None:
        authority = self.authority(member.issuer)
        if found := authority.refusal(order, now):
            return found
        if member.forced or not authority.has_ceiling:
            return None
        validity = member.held.validity if member.held else None
        return ceiling(order, authority.history(order), now=now, validity=validity, in_vain=member.in_vain)

    def _ask(self, lineage: Lineage, member: Member, now: datetime) -> WindowTask | None:
        held = member.held
        if held is None or member.ask_at is None or member.ask_at > now:
            return None
        member.asking, member.ask_ari_at = True, now + _HALF_DAY
        self._asked[lineage] = issuer = member.window_issuer
        self._schedule(lineage, now)
        return WindowTask(lineage=lineage, issuer=issuer, cert_id=held.cert_id)

    def _event(self, lineage: Lineage, event: Event, now: datetime) -> None:
        if member := self._members.get(lineage):
            member.state = step(member.state, event, now, self._rng)
            self._schedule(lineage, now)

    def _schedule(self, lineage: Lineage, now: datetime) -> None:
        member = self._members[lineage]
        ends = ending_from(member.held.validity) if member.held else None
        self._orders.put(lineage, due_at(member.state, now), member.issuer, urgent=member.urgent, urgent_from=ends)
        self._windows.put(lineage, member.ask_at, member.window_issuer, urgent=False)


def _at_least(most: int, under_way: Mapping[Lineage, str]) -> set[str]:
    if len(under_way) < most:  # nearly always: this is asked at every step
        return set()
    return {name for name, count in Counter(under_way.values()).items() if count >= most}
