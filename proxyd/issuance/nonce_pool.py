"""Anti-replay nonces of one CA (RFC 8555 §6.5)."""

import re
from collections import deque

from proxyd.core.clock import Clock

_MAX = 64
_MAX_AGE = 300.0  # seconds; CAs forget theirs sooner or later
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,1024}\Z")  # others must be ignored (§6.5.1)


class NoncePool:
    """Newest first: it is the one the CA most probably still knows."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._nonces: deque[tuple[float, str]] = deque(maxlen=_MAX)

    def put(self, nonce: str | None) -> None:
        """Keep the nonce of a response, if it had a usable one."""
        if nonce := usable(nonce):
            self._nonces.append((self._clock.monotonic(), nonce))

    def take(self) -> str | None:
        """Return an unused nonce, or None: fetch one."""
        while self._nonces:
            born, nonce = self._nonces.pop()
            if self._clock.monotonic() - born < _MAX_AGE:
                return nonce
        return None


def usable(nonce: str | None) -> str | None:
    """Return the nonce of a header when it is one; base64url never has a lone last character."""
    return nonce if nonce and _NONCE.match(nonce) and len(nonce) % 4 != 1 else None
