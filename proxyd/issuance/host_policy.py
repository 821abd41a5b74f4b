"""May this name have a certificate (still)?"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from proxyd.core.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Allowed:
    """Order it."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Send no order before `until`; what serves keeps serving."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class NoMore:
    """Forget the name: nothing is kept of it but its file."""

    reason: str


Permit = Allowed | NotNow | NoMore


class HostPolicy(Protocol):
    """Asked before every order."""

    async def permit(self, lineage: Lineage) -> Permit:
        """Return whether the order may be sent; ends within seconds, never raises."""
        ...

    def wished(self, lineage: Lineage) -> None:
        """Hear that a person wants the certificate now."""
        ...

    def review(self) -> None:
        """Look again at what waits: states have changed. Returns at once."""
        ...

    def forgotten(self, lineage: Lineage) -> None:
        """Hear that nothing is known of the lineage any more."""
        ...
