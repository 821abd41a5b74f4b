"""Tells people what they should hear of, through the channels of the configuration."""

import asyncio
import logging
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from proxyd.admin.alert_channel import AlertChannel
from proxyd.admin.alert_courier import AlertCourier, Counts
from proxyd.admin.exec_channel import ExecChannel
from proxyd.admin.heartbeat import Heartbeat
from proxyd.admin.mail_channel import MailChannel
from proxyd.admin.webhook_channel import WebhookChannel
from proxyd.config.alert import AlertOptions
from proxyd.core.alert_book import AlertBook, Told
from proxyd.core.clock import Clock
from proxyd.core.diagnosis import diagnose
from proxyd.core.notice import Notice
from proxyd.core.trouble import Trouble, TroubleKind
from proxyd.core.trouble_report import troubles
from proxyd.daemon.certificates import Certificates

_log = logging.getLogger("proxyd.alerts")
_LOOK_SECONDS = 10.0
_LAST_SECONDS = 3.0  # for what is still to be told when the daemon stops
_DOCUMENT = "alert "
#: The journal is read for so many hosts of a notice; of the others it is told what the failure alone says.
_STUDIED = 20


@dataclass(frozen=True, slots=True)
class _Running:
    task: asyncio.Task[None]
    courier: AlertCourier | None  # a heartbeat has none


class Alerts:
    """Looks every few seconds at what `certificates` know; nothing waits for what channels do.

    `counts`: what became of the notices, by kind of channel.
    """

    def __init__(self, *, certificates: Certificates, clock: Clock) -> None:
        self.counts: Counts = Counts()
        self._certificates = certificates
        self._clock = clock
        self._server = socket.gethostname()
        self._wanted: tuple[AlertOptions, ...] = ()
        self._running: dict[AlertOptions, _Running] = {}
        self._changed = asyncio.Event()
        self._book = AlertBook({}, server=self._server)

    def use(self, alerts: Iterable[AlertOptions]) -> None:
        """Tell by these from now on."""
        self._wanted = tuple(dict.fromkeys(alerts))
        self._changed.set()

    async def run(self) -> None:
        """Look for ever. Ends only by cancellation."""
        await self._certificates.ready()
        self._book = AlertBook(self._read(), server=self._server)
        self._recall_unconfirmed()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                self._begin(tasks)
                if any(one.courier for one in self._running.values()):
                    await self._guarded()
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def close(self) -> None:
        """Send what waits, for a short while. `run` has ended."""
        couriers = [one.courier for one in self._running.values() if one.courier]
        try:
            async with asyncio.timeout(_LAST_SECONDS), asyncio.TaskGroup() as tasks:
                for one in couriers:
                    tasks.create_task(one.flush())
        except TimeoutError:
            waiting = sum(len(one.waiting) for one in couriers)
            _log.warning("alerts could not be sent before the end: they are told after the start", extra={"n": waiting})

    def ailing(self) -> str | None:
        """Return why this daemon is not well: then no heartbeat is sent."""
        if (cache := self._certificates.alarms.cache) is not None:
            return cache.reason
        doubt = self._certificates.clock_guard.doubt
        return doubt.reason if doubt is not None and doubt.holds else None

    def _recall_unconfirmed(self) -> None:
        """Have it found out whether clients see now what they did not before the start."""
        kind, told = TroubleKind.SELF_HANDSHAKE_FAILED, self._book.told
        lineages = self._certificates.renewer.fleet.lineages()
        self._certificates.alarms.recall(one for one in lineages if f"{kind.value} {one.host} {one.key_kind}" in told)

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Run the channels that are wanted; what others had to tell is told by those that came in their place."""
        left: list[Notice] = []
        for options in [*self._running.keys() - {*self._wanted}]:
            gone = self._running.pop(options)
            gone.task.cancel()
            left += gone.courier.waiting if gone.courier else []
        for options in self._wanted:
            if options not in self._running:
                self._running[options] = started = self._start(options, tasks)
                if started.courier:
                    for notice in left:
                        started.courier.put(notice)

    def _start(self, options: AlertOptions, tasks: asyncio.TaskGroup) -> _Running:
        channel = channel_of(options, self._clock)
        if channel is None:
            return _Running(tasks.create_task(self._heartbeat(options).run()), None)
        courier = AlertCourier(channel, counts=self.counts, clock=self._clock, delivered=self._delivered)
        return _Running(tasks.create_task(courier.run()), courier)

    def _heartbeat(self, options: AlertOptions) -> Heartbeat:
        assert options.heartbeat is not None
        return Heartbeat(
            options.heartbeat,
            name=options.shown,
            interval=options.interval,
            ca=options.ca,
            counts=self.counts,
            ailing=self.ailing,
        )

    async def _guarded(self) -> None:
        try:
            await self._look()
        except Exception:  # noqa: BLE001 - who tells of trouble must not make any
            _log.exception("the look for what is to be told failed: it is tried again")

    async def _look(self) -> None:
        facts, now = self._certificates.facts(), self._clock.now()
        doubt, cache = self._certificates.clock_guard.doubt, self._certificates.alarms.cache
        found = await asyncio.to_thread(troubles, facts, now, doubt=doubt, cache=cache)
        for notice in self._book.look(found, now):
            told = replace(notice, troubles=await asyncio.to_thread(self._studied, notice))
            _log.warning("alert", extra={"about": told.event, "alert": told.summary})
            for one in self._running.values():
                if one.courier:
                    one.courier.put(told)

    def _studied(self, notice: Notice) -> tuple[Trouble, ...]:
        """Return the troubles with their cause in words and the next step, as `explain` tells them. Blocks."""
        if notice.event == "resolved":
            return notice.troubles
        return tuple(self._explained(one, reads=number < _STUDIED) for number, one in enumerate(notice.troubles))

    def _explained(self, trouble: Trouble, *, reads: bool) -> Trouble:
        if trouble.failure is None or not trouble.hosts:
            return trouble
        host = trouble.failure.name or trouble.hosts[0]
        found = diagnose(host, trouble.failure, self._certificates.memory.history(host) if reads else ())
        return replace(trouble, reason=f"{trouble.hosts[0]}: {found.why}", to_do=found.to_do)

    def _delivered(self, notice: Notice) -> None:
        """Keep what was told: only now, so that what no channel took is told after a restart."""
        memory = self._certificates.memory
        for one in notice.troubles:
            told = self._book.told.get(one.key)
            if told is None or told.is_over:
                memory.forget_document(f"{_DOCUMENT}{one.key}")
            else:
                memory.keep_document(f"{_DOCUMENT}{one.key}", told.to_document())

    def _read(self) -> dict[str, Told]:
        kept: Mapping[str, Mapping[str, object]] = self._certificates.memory.documents(_DOCUMENT)
        return {key: told for key, document in kept.items() if (told := Told.read(key, document))}


def channel_of(options: AlertOptions, clock: Clock) -> AlertChannel | None:
    """Return the channel that was written; None for a heartbeat, which tells nothing."""
    match options.kind:
        case "webhook":
            assert options.webhook is not None
            return WebhookChannel(
                options.webhook, name=options.shown, secret=options.secret, ca=options.ca, clock=clock
            )
        case "exec":
            assert options.exec is not None
            return ExecChannel(options.exec, name=options.shown, timeout=options.timeout)
        case "mail":
            assert options.mail is not None
            return MailChannel(options.mail, name=options.shown)
        case "heartbeat":
            return None
        case _:
            assert_never(options.kind)
