"""Who came to validate: every request for a pending answer, recorded, but never more than a journal should bear."""

import logging
from collections import OrderedDict

from proxyd.core.hostname import Hostname
from proxyd.issuance.memory import Memory

_log = logging.getLogger("proxyd.issuance")
#: A CA looks from five places or so, three times. Anybody may knock with acme-tls/1 while a name is pending.
_MOST_OF_A_TOKEN = 20
_MOST_TOKENS = 1_000
_MOST_TEXT = 120


class ChallengeHits:
    """Validation requests by token. Nothing here blocks."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._counts: OrderedDict[str, int] = OrderedDict()

    def by_http(self, name: Hostname, client: str, token: str, agent: str) -> None:
        """Record a request on port 80."""
        shown = "".join(char if char.isprintable() else " " for char in agent[:_MOST_TEXT])
        self._record("http-01", name, client, token, shown or None)

    def by_tls(self, name: Hostname, client: str, token: str) -> None:
        """Record a connection with acme-tls/1."""
        self._record("tls-alpn-01", name, client, token, None)

    def _record(self, kind: str, name: Hostname, client: str, token: str, agent: str | None) -> None:
        count = self._counts[token] = self._counts.pop(token, 0) + 1
        if len(self._counts) > _MOST_TOKENS:
            self._counts.popitem(last=False)
        if count > _MOST_OF_A_TOKEN:
            return
        _log.info("challenge request", extra={"host": name, "client": client, "by": kind})
        fields = {"client": client, "by": kind, "token": token[:_MOST_TEXT], "agent": agent}
        self._memory.note("challenge request", name, None, **fields)
