"""Whether it is this process's turn to order: of several on one cache one does, the others serve what it obtains."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import assert_never

from proxyd.core.failure import Failure, FailureKind
from proxyd.core.hostname import Hostname
from proxyd.issuance.memory import Memory
from proxyd.store.lease import Lease, Ours, Theirs, Unknown
from proxyd.store.lease import Turn as Answer
from proxyd.store.store import StoreError

_log = logging.getLogger("proxyd.turn")
_SIGN_SECONDS = 5.0
_ASK_SECONDS = 1.0


class OrderTurn:
    """`reason` says why nothing is ordered here; None: it is our turn."""

    def __init__(self, lease: Lease, *, memory: Memory) -> None:
        self.reason: str | None = "the cache has not been looked at yet"
        self._lease = lease
        self._memory = memory
        self._is_anothers = False
        self._told: str | None = None

    def open(self, read: Callable[[], None]) -> None:
        """Take the turn if nobody has it, and `read` does what whose turn it is has to know. Blocks on the disk.

        When it raises StoreError the turn is gained later, by `run`.
        """
        self.reason = self._reason(self._lease.hold())
        try:
            read()
        except StoreError as error:
            self.reason = self.reason or _unread(error)

    async def confirm(self) -> bool:
        """Return whether orders may be sent, as the disk says now."""
        if self.reason is None and not await asyncio.to_thread(self._lease.is_ours):
            self.reason = self._reason(await asyncio.to_thread(self._lease.hold))
        return self.reason is None

    def failure(self, host: Hostname) -> Failure:
        """Return the reason as that of a host."""
        message = f"{host}: {self.reason}"
        return Failure(kind=FailureKind.LOCAL, message=message, is_anothers_turn=self._is_anothers)

    async def run(self, gained: Callable[[], Awaitable[None]], waiting: Callable[[], Awaitable[None]]) -> None:
        """Keep the turn, or wait for it. Ends only by cancellation.

        `gained` is awaited before it counts; `waiting` whenever another process has it.
        """
        self._tell()
        while True:
            await asyncio.sleep(_SIGN_SECONDS if self.reason is None else _ASK_SECONDS)
            reason = self._reason(await asyncio.to_thread(self._lease.hold))
            try:
                if reason is None and self.reason is not None:
                    await gained()
                elif reason is not None:
                    await waiting()
            except StoreError as error:
                reason = _unread(error)
            self.reason = reason
            self._tell()

    async def end(self) -> None:
        """Leave the turn to others."""
        await asyncio.to_thread(self._lease.release)

    def _tell(self) -> None:
        """Once for each change."""
        if self.reason == self._told:
            return
        if self.reason is None:
            _log.warning("this process orders certificates for the cache from now on")
            self._memory.note("turn taken", None, None)
        elif self._told is None:
            _log.warning("this process orders no certificates", extra={"reason": self.reason})
            self._memory.note("turn waits", None, None, reason=self.reason)
        else:
            _log.warning("this process still orders no certificates", extra={"reason": self.reason})
        self._told = self.reason

    def _reason(self, answer: Answer) -> str | None:
        self._is_anothers = isinstance(answer, Theirs)
        match answer:
            case Ours():
                return None
            case Theirs(owner=owner):
                who = f" (pid {owner.pid} on {ascii(owner.host)[1:-1]})" if owner else ""
                return (
                    f"another proxyd{who} orders certificates for this cache: this one serves what it obtains, "
                    "and takes over when it ends"
                )
            case Unknown(reason=reason):
                return f"whose turn it is to order cannot be told: {reason}"
            case _:
                assert_never(answer)


def _unread(error: StoreError) -> str:
    return f"the cache cannot be read: {error}"
