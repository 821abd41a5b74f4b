"""Tells people what they should hear of, through the channels of the configuration."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from proxyd.admin.alert_channel import AlertChannel
from proxyd.admin.alert_courier import AlertCourier, Counts
from proxyd.admin.exec_channel import ExecChannel
from proxyd.admin.heartbeat import Heartbeat
from proxyd.admin.mail_channel import MailChannel
from proxyd.admin.webhook_channel import WebhookChannel
from proxyd.config.alert import AlertOptions
from proxyd.core.alarm import Alarm
from proxyd.core.alert_book import AlertBook
from proxyd.core.clock import Clock
from proxyd.core.diagnosis import diagnose
from proxyd.core.notice import Notice
from proxyd.core.trouble import Trouble, TroubleKind
from proxyd.core.trouble_report import troubles
from proxyd.daemon.alert_receipts import AlertReceipts
from proxyd.daemon.certificates import Certificates

_log = logging.getLogger("proxyd.alerts")
_LOOK_SECONDS = 10.0
_LAST_SECONDS = 3.0  # for what is still to be told when the daemon stops
#: The journal is read for so many hosts of a notice; of the others it is told what the failure alone says.
_STUDIED = 20


@dataclass(frozen=True, slots=True)
class _Running:
    task: asyncio.Task[None]
    courier: AlertCourier | None  # a heartbeat has none


class Alerts:
    """Looks every few seconds at what `certificates` know, and at `others`; nothing waits for what channels do.

    `counts`: what became of the notices, by kind of channel.
    """

    def __init__(
        self, *, certificates: Certificates, others: Callable[[], Iterable[Alarm]] = tuple, clock: Clock
    ) -> None:
        self.counts: Counts = Counts()
        self._certificates = certificates
        self._others = others
        self._clock = clock
        self._server = socket.gethostname()
        self._wanted: tuple[AlertOptions, ...] = ()
        self._channels: dict[AlertOptions, str] = {}  # as receipts name them
        self._running: dict[AlertOptions, _Running] = {}
        self._changed = asyncio.Event()
        self._book = AlertBook({}, server=self._server)
        self._receipts = AlertReceipts(certificates.memory)

    def use(self, alerts: Iterable[AlertOptions]) -> None:
        """Tell by these from now on."""
        self._wanted = tuple(dict.fromkeys(alerts))
        self._channels = _names(self._wanted)
        self._changed.set()

    async def run(self) -> None:
        """Look for ever. Ends only by cancellation."""
        await self._certificates.ready()
        told = self._receipts.read(self._channels.values(), self._clock.now())
        self._book = AlertBook(told, server=self._server)
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
        kind = TroubleKind.SELF_HANDSHAKE_FAILED
        kept = {key for key, told in self._book.told.items() if not told.is_over}
        lineages = self._certificates.renewer.fleet.lineages()
        self._certificates.alarms.recall(one for one in lineages if f"{kind.value} {one.host} {one.key_kind}" in kept)

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
        delivered = partial(self._delivered, self._channels[options])
        courier = AlertCourier(channel, counts=self.counts, clock=self._clock, delivered=delivered)
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
        others = [*self._others()]
        found = await asyncio.to_thread(troubles, facts, now, doubt=doubt, cache=cache, others=others)
        for notice in self._book.look(found, now):
            told = replace(notice, troubles=await asyncio.to_thread(self._studied, notice))
            _log.warning("alert", extra={"about": told.event, "alert": told.summary})
            self._receipts.told(told)
            for one in self._running.values():
                if one.courier:
                    one.courier.put(told)
        present = {one.key: one for one in found}
        for channel, notice in self._receipts.owed(present, self._book.told, now, self._server):
            told = replace(notice, troubles=await asyncio.to_thread(self._studied, notice))
            for options, one in self._running.items():
                if one.courier and self._channels.get(options) == channel:
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

    def _delivered(self, channel: str, notice: Notice) -> None:
        self._receipts.taken(notice, channel, channels=self._channels.values(), told=self._book.told)


def _names(alerts: Iterable[AlertOptions]) -> dict[AlertOptions, str]:
    """Return a name for each that tells notices: the same after a restart, and not secret."""
    seen, found = Counter[str](), dict[AlertOptions, str]()
    for one in alerts:
        if one.kind != "heartbeat":
            seen[one.shown] += 1
            found[one] = f"{one.shown} {seen[one.shown]}"
    return found


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
