"""Brings notices to one channel, in their order, until it takes them: whatever a channel does, nobody waits for it."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta

from proxyd.admin.alert_channel import AlertChannel, ChannelError
from proxyd.core.clock import Clock
from proxyd.core.notice import Notice

_log = logging.getLogger("proxyd.alerts")
_QUEUE = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0  # seconds
#: What nobody took for so long is no news any more.
_KEEP = timedelta(days=1)

#: By kind of channel and result: delivered, failed (an attempt), dropped (given up).
Counts = Counter[tuple[str, str]]


class AlertCourier:
    """`delivered` hears of each notice that was taken."""

    def __init__(
        self, channel: AlertChannel, *, counts: Counts, clock: Clock, delivered: Callable[[Notice], None]
    ) -> None:
        self._channel = channel
        self._counts = counts
        self._clock = clock
        self._delivered = delivered
        self._queue: deque[Notice] = deque()
        self._wake = asyncio.Event()
        self._trouble: str | None = None

    @property
    def waiting(self) -> list[Notice]:
        """Return what was not taken yet."""
        return [*self._queue]

    def put(self, notice: Notice) -> None:
        """Send it soon. Of too many, the oldest is dropped."""
        if len(self._queue) >= _QUEUE:
            self._drop(self._queue.popleft(), f"more than {_QUEUE} wait")
        self._queue.append(notice)
        self._wake.set()

    async def run(self) -> None:
        """Send for ever. Ends only by cancellation."""
        pause = _FIRST_PAUSE
        while True:
            self._wake.clear()
            if not self._queue:
                await self._wake.wait()
            elif await self._send_first():
                pause = _FIRST_PAUSE
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def flush(self) -> None:
        """Try once more to send what waits: the daemon stops, and `run` has ended. The caller sets the deadline."""
        while self._queue and await self._send_first():
            pass

    async def _send_first(self) -> bool:
        """Return whether it went, or is given up; only then it leaves the queue."""
        notice = self._queue[0]
        try:
            await self._channel.send(notice)
        except ChannelError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - one channel's bug must not end the others
            _log.exception("a notice could not be sent in an unforeseen way", extra={"channel": self._channel.name})
            self._failed(f"{type(error).__name__}, see the log; this is a bug of proxyd")
        else:
            self._leave(notice)
            self._counts[self._channel.kind, "delivered"] += 1
            self._works()
            self._delivered(notice)
            return True
        if self._clock.now() - notice.at > _KEEP:
            self._leave(notice)
            self._drop(notice, "it is a day old")
            return True
        return False

    def _leave(self, notice: Notice) -> None:
        if self._queue and self._queue[0] is notice:  # else a newer one has pushed it out
            self._queue.popleft()

    def _failed(self, reason: str) -> None:
        self._counts[self._channel.kind, "failed"] += 1
        if self._trouble is None:
            _log.error(
                "an alert channel does not work: what is to be told waits and is tried again",
                extra={"channel": self._channel.name, "reason": reason},
            )
        self._trouble = reason

    def _works(self) -> None:
        if self._trouble is not None:
            _log.warning("the alert channel works again", extra={"channel": self._channel.name})
            self._trouble = None

    def _drop(self, notice: Notice, why: str) -> None:
        self._counts[self._channel.kind, "dropped"] += 1
        fields = {"channel": self._channel.name, "notice": notice.summary, "reason": why}
        _log.error("an alert was given up", extra=fields)
