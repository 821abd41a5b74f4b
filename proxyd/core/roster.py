"""Which certificates are managed, at which CAs, and what is known of them."""

from collections.abc import Callable, Mapping
from datetime import datetime

from proxyd.core.authority import Authority
from proxyd.core.certificate_state import CertificateState, Ordering, due_at
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Held, Lineage, Plan
from proxyd.core.member import Member
from proxyd.core.rate_ledger import CaLimits
from proxyd.core.status import Facts


class Roster:
    """Tells and changes nothing: the fleet does."""

    def __init__(self, *, registered_domain: Callable[[Hostname], str]) -> None:
        self._registered_domain = registered_domain
        self._members: dict[Lineage, Member] = {}
        self._leaving: dict[Lineage, Member] = {}  # managed no longer, while the order that was under way runs
        self._authorities: dict[str, Authority] = {}

    def authority(self, name: str, limits: CaLimits | None = None) -> Authority:
        """Return what is known of a CA, made at the first call."""
        if name not in self._authorities:
            self._authorities[name] = Authority(name, limits, registered_domain=self._registered_domain)
        return self._authorities[name]

    def state(self, lineage: Lineage) -> CertificateState | None:
        """Return the state of a lineage."""
        member = self._members.get(lineage)
        return member.state if member else None

    def lineages(self) -> list[Lineage]:
        """Return every lineage."""
        return list(self._members)

    def lineages_of(self, name: Hostname) -> list[Lineage]:
        """Return the lineages that serve a name."""
        return [one for one in self._members if name in one.names]

    def due(self, lineage: Lineage, now: datetime) -> datetime | None:
        """Return when the next order of a lineage is due; None: one runs, or it is not managed."""
        state = self.state(lineage)
        return due_at(state, now) if state else None

    def states(self) -> Mapping[Lineage, CertificateState]:
        """Return the state of every lineage."""
        return {lineage: member.state for lineage, member in self._members.items()}

    def facts(self, hosts: frozenset[Hostname] | None = None) -> list[Facts]:
        """Return what is known of the lineages, for status and explanations; `hosts`: only of these names."""
        found = self._members.items()
        wanted = (
            found if hosts is None else [(one, member) for one, member in found if not {*one.names}.isdisjoint(hosts)]
        )
        return [Facts(plan=member.plan, state=member.state, held=member.held) for _, member in wanted]

    def plan(self, lineage: Lineage) -> Plan | None:
        """Return how a lineage is obtained."""
        member = self._members.get(lineage)
        return member.plan if member else None

    def held(self, lineage: Lineage) -> Held | None:
        """Return what is known of the certificate that serves."""
        member = self._members.get(lineage)
        return member.held if member else None

    def authorities(self) -> Mapping[str, Authority]:
        """Return every CA that is known, by name."""
        return self._authorities

    def document(self, lineage: Lineage) -> dict[str, object]:
        """Return what a restart must not forget of a lineage, as JSON values."""
        member = self._known(lineage)
        if member is None or (lineage not in self._members and isinstance(member.state, Ordering)):
            return {}  # what was kept before the order of one that left holds, until that order has ended
        return member.document()

    # Inside

    def _known(self, lineage: Lineage) -> Member | None:
        """Return also one that left, whose order may run still."""
        return self._members.get(lineage) or self._leaving.get(lineage)
