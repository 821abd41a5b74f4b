"""The question when a CA wants a certificate renewed (RFC 9773), and what becomes of its answer."""

import logging
from collections.abc import Callable
from contextlib import suppress

from proxyd.core.clock import Clock
from proxyd.core.failure import IssuanceError
from proxyd.core.fleet import Fleet
from proxyd.core.lineage import Lineage
from proxyd.core.task import WindowTask
from proxyd.issuance.issuer import Issuer, WindowAnswer
from proxyd.issuance.memory import Memory

_log = logging.getLogger("proxyd.renewer")
_NOTHING = WindowAnswer(window=None, retry_after=None)


class WindowQuestion:
    """Asks for one window at each call. The fleet hears the end of every question, whatever becomes of it."""

    def __init__(
        self, *, fleet: Fleet, memory: Memory, issuer_of: Callable[[Lineage, str], Issuer | None], clock: Clock
    ) -> None:
        self._fleet = fleet
        self._memory = memory
        self._issuer_of = issuer_of
        self._clock = clock

    async def ask(self, task: WindowTask) -> None:
        """Ask, and move the renewal to where the CA wants it. Raises nothing but CancelledError."""
        answer = _NOTHING
        try:
            answer = await self._answer(task)
        except IssuanceError as error:
            answer = WindowAnswer(window=None, retry_after=error.failure.retry_after)
            _log.info("no renewal window", extra={"host": task.lineage.host, "reason": str(error)})
        except Exception:  # noqa: BLE001 - an error that left the task would end the daemon
            _log.exception("asking for the renewal window failed", extra={"host": task.lineage.host})
        finally:
            self._end(task, answer)

    async def learn(self, issuer: Issuer, name: str) -> None:
        """Find out whether the CA `name` tells windows; what was known of one that does not answer stays."""
        with suppress(IssuanceError):
            self._learned(name, await issuer.has_windows())

    def _learned(self, name: str, has_windows: bool) -> None:
        authority = self._fleet.authority(name)
        if authority.has_ari != has_windows:
            authority.has_ari = has_windows
            self._memory.keep_authority(authority, self._clock.now())

    async def _answer(self, task: WindowTask) -> WindowAnswer:
        issuer = self._issuer_of(task.lineage, task.issuer)
        if issuer is None:
            return _NOTHING
        self._learned(task.issuer, await issuer.has_windows())
        if not self._fleet.authority(task.issuer).has_ari:
            return _NOTHING
        answer = await issuer.renewal_window(task.cert_id)
        if answer.window is None:
            _log.warning(
                "the CA told a renewal window that makes no sense: ignored",
                extra={"host": task.lineage.host, "issuer": task.issuer},
            )
        return answer

    def _end(self, task: WindowTask, answer: WindowAnswer) -> None:
        lineage, window = task.lineage, answer.window
        now = self._clock.now()
        before, held = self._fleet.due(lineage, now), self._fleet.held(lineage)
        self._fleet.window(lineage, task.cert_id, window, answer.retry_after, now)
        self._memory.keep_lineage(self._fleet, lineage)
        if (learned := self._fleet.held(lineage)) and learned != held:  # which CA gave it
            self._memory.keep_held(lineage, learned)
        if window is not None and (due := self._fleet.due(lineage, now)) != before:
            fields = {"start": window.start, "end": window.end, "explanation": window.explanation_url}
            _log.info("renewal placed in the CA's window", extra={"host": lineage.host, "at": due, **fields})
            self._memory.note("window", lineage.host, task.issuer, renew_at=due, **fields)
