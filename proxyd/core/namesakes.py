"""Certificates that share a name: two key kinds of one host, a name in two certificates for a while."""

from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage


class Namesakes:
    """One order at a time proves a name: a second one would overwrite what the CA comes to see (RFC 8737 §3)."""

    def __init__(self) -> None:
        self._by_name: dict[Hostname, set[Lineage]] = {}
        self._proving: dict[Hostname, Lineage] = {}
        self._behind: dict[Lineage, set[Lineage]] = {}

    def add(self, lineage: Lineage) -> None:
        """Take it in."""
        for name in lineage.names:
            self._by_name.setdefault(name, set()).add(lineage)

    def remove(self, lineage: Lineage) -> None:
        """Forget it; an order of it that runs proves its names until it ends."""
        for name in lineage.names:
            known = self._by_name.get(name, set())
            known.discard(lineage)
            if not known:
                self._by_name.pop(name, None)

    def twins(self, lineage: Lineage) -> set[Lineage]:
        """Return the others that are for exactly the same names."""
        sharing = self._by_name.get(lineage.host, set())
        return {one for one in sharing if one != lineage and {*one.names} == {*lineage.names}}

    def waits(self, lineage: Lineage) -> bool:
        """Return whether an order runs that proves one of the names; `ended` of that order then returns `lineage`."""
        for name in lineage.names:
            if running := self._proving.get(name):  # also its own, from before it left and came back
                self._behind.setdefault(running, set()).add(lineage)
                return True
        return False

    def began(self, lineage: Lineage) -> None:
        """Say that an order runs."""
        for name in lineage.names:
            self._proving[name] = lineage

    def ended(self, lineage: Lineage) -> set[Lineage]:
        """Say that the order of the lineage is over; return who waited for it."""
        for name in lineage.names:
            if self._proving.get(name) == lineage:
                del self._proving[name]
        return self._behind.pop(lineage, set())
