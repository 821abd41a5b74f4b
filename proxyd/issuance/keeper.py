"""Who puts a new certificate to use, and how that ended."""

from dataclasses import dataclass
from typing import Protocol

from proxyd.certs.certificate import Certificate
from proxyd.core.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Serving:
    """It serves from the next handshake on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """Clients would see something else: what served before serves again, `previous` (None: nothing did)."""

    reason: str
    previous: Certificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoom:
    """This machine lacks something that passes by, descriptors for instance: try again."""

    reason: str


Installed = Serving | TakenBack | NoRoom


class Keeper(Protocol):
    """Puts a new certificate to use."""

    async def install(self, lineage: Lineage, certificate: Certificate) -> Installed:
        """Serve it from the next handshake on, and look that it is what clients see. Never raises."""
        ...
