"""How control of a name is proved to the CA."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from proxyd.core.failure import FailureKind, IssuanceError
from proxyd.core.hostname import Hostname
from proxyd.issuance.challenge_board import ChallengeBoard
from proxyd.issuance.pace import at_once

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,512}\Z")  # RFC 8555 §8.3: base64url, at least 128 bits of entropy


class ChallengeSolver(Protocol):
    """One challenge type. `clean_up` runs whether or not `present` did, also after cancellation."""

    @property
    def kind(self) -> str:
        """Return the type as the CA names it."""
        ...

    async def present(self, name: Hostname, challenge: Mapping[str, Any], thumbprint: str) -> None:
        """Publish the answer; on return it is visible to the CA. Raises IssuanceError."""
        ...

    async def clean_up(self, name: Hostname, challenge: Mapping[str, Any]) -> None:
        """Take the answer back."""
        ...


class AlpnChallenges(Protocol):
    """Where TLS-ALPN-01 certificates are published."""

    def publish(self, name: Hostname, token: str, digest: bytes) -> None:
        """Answer validators of `name` from now on."""
        ...

    def withdraw(self, name: Hostname) -> None:
        """Stop answering; harmless when it never began."""
        ...


class Http01Solver:
    """HTTP-01 through our port 80 (RFC 8555 §8.3). `spread` waits until all who serve it know the answer."""

    kind = "http-01"

    def __init__(self, board: ChallengeBoard, *, spread: Callable[[], Awaitable[None]] = at_once) -> None:
        self._board = board
        self._spread = spread

    async def present(self, name: Hostname, challenge: Mapping[str, Any], thumbprint: str) -> None:
        token = _token(name, challenge)
        self._board.publish(name, token, f"{token}.{thumbprint}")
        await self._spread()

    async def clean_up(self, name: Hostname, challenge: Mapping[str, Any]) -> None:
        self._board.withdraw(name, str(challenge.get("token")))


class TlsAlpn01Solver:
    """TLS-ALPN-01 through our port 443 (RFC 8737). `spread` waits until all who serve it know the answer."""

    kind = "tls-alpn-01"

    def __init__(self, challenges: AlpnChallenges, *, spread: Callable[[], Awaitable[None]] = at_once) -> None:
        self._challenges = challenges
        self._spread = spread

    async def present(self, name: Hostname, challenge: Mapping[str, Any], thumbprint: str) -> None:
        token = _token(name, challenge)
        self._challenges.publish(name, token, hashlib.sha256(f"{token}.{thumbprint}".encode()).digest())
        await self._spread()

    async def clean_up(self, name: Hostname, challenge: Mapping[str, Any]) -> None:
        self._challenges.withdraw(name)


def _token(name: Hostname, challenge: Mapping[str, Any]) -> str:
    token = challenge.get("token")
    if not isinstance(token, str) or not _TOKEN.match(token):
        raise IssuanceError(FailureKind.CA, "the CA sent a challenge token that is none (RFC 8555 §8.3)", host=name)
    return token
