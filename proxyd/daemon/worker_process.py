"""A process that serves clients; another one obtains the certificates."""

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import socket
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from uvloop import new_event_loop

from proxyd.config.model import Config
from proxyd.core.passive_health import Experience
from proxyd.core.rate_limit import RateTable
from proxyd.core.shared_counts import SharedCounts
from proxyd.daemon.channel import SOCKETS, Channel, Message
from proxyd.daemon.child import Life
from proxyd.daemon.freed_memory import FreedMemory
from proxyd.daemon.garbage import building, keep_all
from proxyd.daemon.listening import Sockets
from proxyd.daemon.logs import set_up, tell_repeated
from proxyd.daemon.loop_lag import LoopLag
from proxyd.daemon.mirror import Mirror
from proxyd.daemon.serving import Prepared, Serving
from proxyd.daemon.system_clock import SystemClock
from proxyd.issuance.steady_clock import SteadyClock
from proxyd.proxy.traffic import Traffic
from proxyd.version import RELEASED

_log = logging.getLogger("proxyd.worker")
_TRAFFIC_SECONDS = 0.5
#: A validator must not come to who does not know the answer yet.
_TOLD_SECONDS = 2.0


class WorkerProcess:
    """Serves `config`, of `generation`, until TERM; the issuer, at the other end of `to_issuer`, brings others."""

    def __init__(
        self,
        config: Config,
        generation: int,
        *,
        sockets: Sockets,
        to_issuer: socket.socket,
        counts: SharedCounts,
        rates: RateTable,
        served: Mapping[str, Any],
        life: Life,
    ) -> None:
        self._config, self._generation = config, generation
        self._sockets = sockets
        self._end = to_issuer
        self._life = life
        clock = SteadyClock(SystemClock(), released=RELEASED)
        self._traffic = Traffic(clock=clock)
        self._mirror = Mirror(
            config.cache_directory, send=self._send, is_ours=lambda host: self._serving.has(host), clock=clock
        )
        self._mirror.remember(served)
        source = self._mirror.source()
        self._serving = Serving(
            config,
            source=source,
            traffic=self._traffic,
            log_told=self._log_told,
            rates=rates,
            counts=counts,
            clock=clock,
        )
        self._log_trouble: Message | None = None
        self._prepared: dict[int, Prepared] = {}
        self._handed: tuple[int, Sockets] | None = None

    def run(self) -> int:
        """Serve; return the exit status."""
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._run())
        return 0

    async def _run(self) -> None:
        stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._loop.add_signal_handler(signal.SIGUSR1, self._serving.reopen_log)
        self._life.told = self._told
        self._life.begin()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._serving.open(self._sockets, tasks, checks=False, noticed=self._noticed)
            self._serving.adopt(await self._serving.prepare(self._config))
            keep_all()
            self._channel = Channel(self._end, self._heard, lost=self._join)
            working = [tasks.create_task(one) for one in self._work()]
            self._join()
            with contextlib.suppress(TimeoutError):  # without a word of the issuer the cache serves
                async with asyncio.timeout(_TOLD_SECONDS):
                    await self._mirror.is_told.wait()
            self._serving.start()
            self._life.ready()
            await stop.wait()
            await self._serving.drain()
            for task in working:
                task.cancel()

    def _work(self) -> Iterable[Coroutine[None, None, None]]:
        counters = self._serving.counters
        serving = LoopLag(counters).run(), FreedMemory(self._serving.seats).run()
        return self._mirror.run(), self._tell_traffic(), *serving, tell_repeated()

    def _send(self, message: Message) -> None:
        self._channel.send(message)

    def _heard(self, message: Message, payload: bytes) -> None:
        if "prepare" in message:
            self._tasks.create_task(self._prepare(message["prepare"], payload))
        elif "adopt" in message:
            self._adopt(message["adopt"])
        elif "judge" in message:
            self._serving.pools.judge(message["judge"])
        elif "noticed" in message:
            check, experience = message["noticed"]
            self._serving.pools.learn(check, Experience(*experience))
        elif "count" in message:
            self._send({"counted": self._serving.counted()})
        elif "hello" in message:  # a new issuer
            self._channel.forget()
            self._join()
        else:
            self._mirror.heard(message, payload)

    def _told(self, message: Message) -> None:
        """Take sockets of the supervisor: for a configuration that is to come, or that does not come."""
        if "listen" in message:
            self._unlisten()
            new = map(tuple, message["new"])
            places = {**self._sockets.by_place(), **dict(zip(new, message.get(SOCKETS) or (), strict=True))}
            self._handed = message["listen"], Sockets.at({one: places[one] for one in map(tuple, message["places"])})
        elif "unlisten" in message:
            self._unlisten()

    def _unlisten(self) -> None:
        if self._handed is not None:
            (_, sockets), self._handed = self._handed, None
            for sock in {*sockets.all()} - {*self._sockets.all()}:
                sock.close()

    def _noticed(self, check: str, experience: Experience) -> None:
        self._send({"noticed": [check, experience]})

    def _join(self) -> None:
        """Have the issuer tell everything, and answer what it has not."""
        self._send({"joined": self._generation, "pid": os.getpid()})
        self._mirror.ask_again()
        if self._log_trouble is not None:
            self._send(self._log_trouble)

    def _log_told(self, path: Path, reason: str | None, lost: int) -> None:
        """Have the issuer tell it, once for all processes; called by the thread that writes the file."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._tell_log_trouble, str(path), reason, lost)

    def _tell_log_trouble(self, path: str, reason: str | None, lost: int) -> None:
        told: Message = {"log_file": path, "reason": reason, "lost": lost}
        self._log_trouble = None if reason is None else told
        self._send(told)

    async def _prepare(self, generation: int, pickled: bytes) -> None:
        try:
            with building():
                config = await asyncio.to_thread(pickle.loads, pickled)
                self._prepared[generation] = await self._serving.prepare(config)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was changed
            _log.exception("a configuration could not be prepared")
            self._send({"failed": generation, "why": f"{type(error).__name__}: {error}"})
        else:
            self._send({"prepared": generation})

    def _adopt(self, generation: int) -> None:
        prepared = self._prepared.get(generation)
        if prepared is None:  # it was lost: it comes again
            self._join()
            return
        self._prepared = {number: one for number, one in self._prepared.items() if number > generation}
        self._serving.adopt(prepared)
        if self._handed is not None and self._handed[0] <= generation:
            (_, self._sockets), self._handed = self._handed, None
            self._serving.listen(self._sockets)
        self._generation = generation
        log = prepared.config.log
        set_up(level=log.level, format=log.format)
        file = log.access.file if log.access else None
        if self._log_trouble is not None and self._log_trouble["log_file"] != str(file):
            self._log_trouble = None
        self._send({"adopted": generation})

    async def _tell_traffic(self) -> None:
        while True:
            await asyncio.sleep(_TRAFFIC_SECONDS)
            if noted := self._traffic.noted():
                self._send({"traffic": noted})
