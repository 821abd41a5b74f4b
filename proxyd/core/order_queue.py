"""Who is ordered next: a line for each CA, so that one that hangs keeps nobody waiting who wants another."""

from collections.abc import Collection
from datetime import datetime

from proxyd.core.agenda import Agenda
from proxyd.core.lineage import Lineage


class OrderQueue:
    """Due times of orders. Who is `urgent` comes before all others of the line."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, bool], Agenda] = {}
        self._place: dict[Lineage, Agenda] = {}

    def put(self, lineage: Lineage, at: datetime | None, issuer: str, *, urgent: bool) -> None:
        """Set when and at which CA an order is due; None: not before it is put again."""
        self.drop(lineage)
        if at is not None:
            line = self._lines.setdefault((issuer, urgent), Agenda())
            line.put(lineage, at)
            self._place[lineage] = line

    def drop(self, lineage: Lineage) -> None:
        """Take it out."""
        if line := self._place.pop(lineage, None):
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
                del self._place[lineage]
                return lineage
        return None
