"""A dead man's switch: somebody else tells people when this daemon falls silent."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from proxyd.admin.alert_channel import ChannelError
from proxyd.admin.alert_courier import Counts
from proxyd.admin.http_call import call

_log = logging.getLogger("proxyd.alerts")
_KIND = "heartbeat"
_LONGEST_RETRY = timedelta(minutes=1)


class Heartbeat:
    """GET every `interval`, while `ailing` returns None; sooner again after a failure. `ailing`: why there is none."""

    def __init__(
        self,
        url: SecretStr,
        *,
        name: str,
        interval: timedelta,
        ca: Path | None,
        counts: Counts,
        ailing: Callable[[], str | None],
    ) -> None:
        self._url = url
        self._name = name
        self._interval = interval
        self._ca = ca
        self._counts = counts
        self._ailing = ailing
        self._trouble: str | None = None
        self._is_silent = False

    async def run(self) -> None:
        """Ask for ever. Ends only by cancellation."""
        while True:
            is_sent = self._may_send() and await self.send()
            pause = self._interval if is_sent else min(self._interval, _LONGEST_RETRY)
            await asyncio.sleep(pause.total_seconds())

    async def send(self) -> bool:
        """Ask once, and return whether that went; what went wrong is logged once."""
        try:
            await call(self._url.get_secret_value(), method="GET", ca=self._ca)
        except ChannelError as error:
            self._failed(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - a bug here must not end the daemon
            if self._trouble is None:
                _log.exception("a heartbeat could not be sent in an unforeseen way", extra={"channel": self._name})
            self._failed(f"{type(error).__name__}, see the log; this is a bug of proxyd")
            return False
        self._counts[_KIND, "delivered"] += 1
        if self._trouble is not None:
            _log.warning("heartbeats are sent again", extra={"channel": self._name})
            self._trouble = None
        return True

    def _failed(self, reason: str) -> None:
        self._counts[_KIND, "failed"] += 1
        if self._trouble is None:
            _log.error("no heartbeat can be sent", extra={"channel": self._name, "reason": reason})
        self._trouble = reason

    def _may_send(self) -> bool:
        reason = self._ailing()
        if (reason is not None) != self._is_silent:
            self._is_silent = reason is not None
            if reason is not None:
                _log.error("no heartbeat is sent: the daemon ails", extra={"channel": self._name, "reason": reason})
            else:
                _log.warning("the daemon is well: heartbeats are sent", extra={"channel": self._name})
        return reason is None
