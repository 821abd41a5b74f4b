"""Who is ordered next: a line for each CA, so that one that hangs keeps nobody waiting who wants another."""

from collections.abc import Collection
from datetime import datetime

from proxyd.core.agenda import Agenda
from proxyd.core.lineage import Lineage


class OrderQueue:
    """Due times of orders, or of questions. Who is `urgent` comes before all others of the line."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, bool], Agenda] = {}
        self._places: dict[Lineage, list[Agenda]] = {}

    def put(
        self, lineage: Lineage, at: datetime | None, issuer: str, *, urgent: bool, urgent_from: datetime | None = None
    ) -> None:
        """Set when and at which CA an order is due; None: not before it is put again.

        `urgent_from`: who still waits then is urgent too, or those who always are would leave it no turn.
        """
        self.drop(lineage)
        if at is None:
            return
        times = {urgent: at} if urgent or urgent_from is None else {False: at, True: max(at, urgent_from)}
        self._places[lineage] = [self._lines.setdefault((issuer, kind), Agenda()) for kind in times]
        for line, due in zip(self._places[lineage], times.values(), strict=True):
            line.put(lineage, due)

    def drop(self, lineage: Lineage) -> None:
        """Take it out."""
        for line in self._places.pop(lineage, ()):
            line.put(lineage, None)

    def next_at(self, full: Collection[str] = ()) -> datetime | None:
        """Return the earliest due time, but of those who want a CA of `full`."""
        times = [line.next_at() for (issuer, _), line in self._lines.items() if issuer not in full]
        return min((at for at in times if at is not None), default=None)

    def take(self, now: datetime, full: Collection[str] = ()) -> Lineage | None:
        """Take out who is due and urgent, else who has been due longest; nobody who wants a CA of `full`."""
        for wanted in (True, False):
            lines = [
                (at, line)
                for (issuer, urgent), line in self._lines.items()
                if urgent is wanted and issuer not in full and (at := line.next_at()) is not None
            ]
            _, line = min(lines, key=lambda one: one[0], default=(None, None))
            if line is not None and (lineage := line.take(now)):
                self.drop(lineage)
                return lineage
        return None
