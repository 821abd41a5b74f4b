"""User name and password (RFC 7617), for a host that has `basic_auth`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Final

from proxyd.core.basic_credentials import credentials_of
from proxyd.core.counters import Counters
from proxyd.core.rate_limit import Place, Rate, RateTable
from proxyd.core.user_list import UserList
from proxyd.proxy.answer import Answer
from proxyd.proxy.error_response import retry_after
from proxyd.proxy.gate import Question, Verdict, Visit
from proxyd.proxy.passwords import Passwords

_log = logging.getLogger("proxyd.proxy")
#: So many wrong passwords may come from one address, of all hosts together.
FAILURES: Final = Rate.of(10, 60.0)
_FAILURES_OF = "wrong passwords"
_BUSY = Answer(503, lines=retry_after(1))
#: Its file was never read, or never right.
_UNKNOWN = Answer(503, lines=retry_after(60))


class Attempts:
    """Who may try a password, and what comes of it, for all hosts."""

    def __init__(self, rates: RateTable, counters: Counters) -> None:
        self._rates = rates
        self._counters = counters
        self.passwords = Passwords(failed=self._failed)

    def wait(self, client: str) -> float:
        """Return in how many seconds a client may try again; 0: now."""
        wait = self._rates.wait(self._place(client), FAILURES, monotonic())
        if wait:
            self._counters.hit("basic_auth")
        return wait

    def _failed(self, client: str) -> None:
        self._rates.charge(self._place(client), FAILURES, monotonic())

    def _place(self, client: str) -> Place:
        return self._rates.place(_FAILURES_OF, client)


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """Implements Guard. `users`: None when nobody knows who they are: then nobody comes in."""

    realm: str
    users: UserList | None
    attempts: Attempts

    seconds = 10.0

    def ask(self, visit: Visit, told: Callable[[Verdict], None]) -> Verdict | Question:
        if self.users is None:
            return _UNKNOWN
        given = credentials_of(visit.request.kept)
        if given is None:
            return self._wanted()
        passwords = self.attempts.passwords
        digest = passwords.digest(self.users, given)
        let_in = visit._replace(user=given.name.decode("utf-8", "replace"))
        if passwords.knows(digest):
            return let_in
        if wait := self.attempts.wait(visit.client):
            extra = {"host": visit.host, "client": visit.client, "limit": "basic_auth"}
            _log.info("a client tries too many wrong passwords", extra=extra)
            return Answer(429, lines=retry_after(ceil(wait)))

        def verified(is_right: bool) -> None:
            told(let_in if is_right else self._refused(visit))

        return passwords.verify(self.users, given, digest, visit.client, verified) or _BUSY

    def late(self, visit: Visit) -> Answer:
        return _BUSY

    def _refused(self, visit: Visit) -> Answer:
        _log.info("a wrong user name or password", extra={"host": visit.host, "client": visit.client})
        return self._wanted()

    def _wanted(self) -> Answer:
        realm = self.realm.replace("\\", "\\\\").replace('"', '\\"').encode()
        return Answer(401, lines=b'\r\nWWW-Authenticate: Basic realm="%b", charset="UTF-8"' % realm)
