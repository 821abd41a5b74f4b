"""Checks of our own: is an upstream well enough to get requests?"""

import asyncio
import logging
from collections.abc import Callable
from zlib import crc32

from proxyd.config.host import Health
from proxyd.core.active_health import ActiveHealth
from proxyd.core.response_scanner import ResponseHead
from proxyd.upstream.connection import UpstreamError
from proxyd.upstream.dialer import ConnectFailed, Dialer

_log = logging.getLogger("proxyd.upstream")
_REQUEST = (
    b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: proxyd-health\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
)


class HealthCheck:
    """Asks one upstream again and again. `host`, which is asked for, may be replaced at any time.

    `judged` hears each new verdict.
    """

    def __init__(self, dialer: Dialer, options: Health, *, judged: Callable[[bool], None] = lambda _: None) -> None:
        self.state = ActiveHealth(fails=options.fails, passes=options.passes)
        self.host = dialer.address.host_field
        self._dialer = dialer
        self._options = options
        self._judged = judged
        self._name = str(dialer.address)

    async def run(self) -> None:
        """Check until cancelled: at once, then each interval."""
        interval = self._options.interval.total_seconds()
        # Not all at the same moments: the second check of each comes when it likes.
        wait = interval * (0.5 + crc32(self._name.encode()) / 2**33)
        while True:
            try:
                trouble = await self._ask()
            except Exception as error:  # noqa: BLE001 - the root of this task: an error would end the daemon
                _log.exception("a health check failed in an unforeseen way", extra={"upstream": self._name})
                trouble = type(error).__name__
            self._note(trouble)
            await asyncio.sleep(wait)
            wait = interval

    def _note(self, trouble: str | None) -> None:
        was = self.state.is_healthy
        if trouble is not None:
            _log.debug("health check failed", extra={"upstream": self._name, "reason": trouble})
        if not self.state.record(trouble is None):
            return
        self._judged(trouble is None)
        if trouble is not None:
            _log.warning("upstream is left out: its health checks fail", extra=self._said(trouble))
        elif was is not None:
            _log.info("upstream is well again", extra={"upstream": self._name})

    def _said(self, trouble: str) -> dict[str, str]:
        return {"upstream": self._name, "path": self._options.path, "reason": trouble}

    async def _ask(self) -> str | None:
        """Return what is wrong, or None."""
        seconds = self._options.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                connection = await self._dialer.connect(seconds)
                answer = _Answer()
                try:
                    head = _REQUEST % (self._options.path.encode(), self.host)
                    connection.begin(answer, head, is_head=False, has_body=False)
                    return await answer.trouble
                finally:
                    connection.abort()
        except ConnectFailed as error:
            return str(error)
        except TimeoutError:
            return f"{self._name} gave no answer within {seconds:g} s"


class _Answer:
    """Waits for a response's head."""

    def __init__(self) -> None:
        self.trouble: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def interim(self, head: ResponseHead) -> None:
        pass

    def response(self, head: ResponseHead, body: int) -> None:
        self._end(None if head.status < 400 else f"it answered {head.status}")

    def switched(self, head: ResponseHead) -> None:
        self._end("it switched protocols")

    def data(self, data: bytes) -> None:
        pass

    def end(self, trailers: bytes) -> None:
        pass

    def failed(self, error: UpstreamError) -> None:
        self._end(str(error))

    def flush(self) -> None:
        pass

    def upload_paused(self, paused: bool) -> None:
        pass

    def _end(self, trouble: str | None) -> None:
        if not self.trouble.done():
            self.trouble.set_result(trouble)
