"""When each certificate is renewed: at the moment of the rule or window, spread over what others leave free."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from proxyd.core.dispatch import Dispatch
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage
from proxyd.core.member import Member
from proxyd.core.renewal import RenewalWindow, begins_later, latest_without, renew_at, spread
from proxyd.core.slots import Slot, Slots

if TYPE_CHECKING:
    import random


class Placement(Dispatch):
    """A dispatch that knows how full each hour is."""

    def __init__(
        self,
        *,
        rng: "random.Random",
        registered_domain: Callable[[Hostname], str],
        orders_per_ca: int = sys.maxsize,
        windows_per_ca: int = sys.maxsize,
        slots: Slots | None = None,
    ) -> None:
        super().__init__(
            rng=rng, registered_domain=registered_domain, orders_per_ca=orders_per_ca, windows_per_ca=windows_per_ca
        )
        self._slots = slots or Slots()

    def expect(self, count: int) -> None:
        """Say how many there will be, so that the first are not crowded together as a small fleet would be."""
        self._slots.expected = count

    # Inside

    def _place(
        self, lineage: Lineage, member: Member, held: Held, window: RenewalWindow | None, now: datetime
    ) -> datetime:
        self._free_slot(member)
        validity = held.validity
        if begins_later(validity, now):
            return now
        wished = renew_at(validity, window, spread(lineage.host))
        earliest = validity.not_before + validity.lifetime / 3
        latest = latest_without(validity) if window is None else wished
        cycle = renew_at(validity, None, 0) - validity.not_before  # not the window's: a revoked one's is now
        at, known = wished, member.known_place
        member.known_place = None
        if known and known[0] == held.serial and earliest <= known[1] <= latest:
            at = known[1]  # a fleet that was spread stays spread over a restart
        elif wished > now and window is not None and self._slots.are_few:
            at = wished
        elif wished > now:
            at = self._slots.place(wished, earliest=max(now, earliest), cycle=cycle)
        elif latest > now:  # one that was found: its whole fleet may have lost its windows and places
            at = self._slots.place_late(now, latest=latest, cycle=cycle)
        member.slot = Slot(max(at, now), cycle)
        self._slots.add(member.slot)
        return at

    def _free_slot(self, member: Member) -> None:
        if member.slot is not None:
            self._slots.remove(member.slot)
            member.slot = None
