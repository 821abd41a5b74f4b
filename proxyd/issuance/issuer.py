"""One CA, whatever it speaks."""

from typing import Protocol

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname


class Issuer(Protocol):
    """Gives certificates. Never retries a failed order: the renewer decides when to ask again."""

    @property
    def name(self) -> str:
        """Return the CA's name for logs and status."""
        ...

    async def issue(self, host: Hostname) -> Certificate:
        """Return a new certificate with a fresh key. Raises IssuanceError, classified; ends within its deadline."""
        ...
