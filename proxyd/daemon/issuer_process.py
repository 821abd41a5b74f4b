"""The process that obtains certificates and answers commands; others serve."""

import asyncio
import pickle
import random
import signal
import socket
from collections.abc import Callable, Sequence

from uvloop import new_event_loop

from proxyd.config.model import Config
from proxyd.core.counters import Counters
from proxyd.daemon.channel import Message
from proxyd.daemon.child import Life
from proxyd.daemon.daemon import signals
from proxyd.daemon.garbage import keep_all
from proxyd.daemon.issuing import Issuing
from proxyd.daemon.logs import tell_repeated, tell_why
from proxyd.daemon.reload import AT_RESTART, Reload
from proxyd.daemon.system_clock import SystemClock
from proxyd.daemon.workers import Workers
from proxyd.store.store import StoreError
from proxyd.upstream.pools import Pools


class IssuerProcess:
    """Takes care of the certificates of `config`, of `generation`, and brings each new one to all workers or none."""

    def __init__(
        self,
        config: Config,
        generation: int,
        *,
        load: Callable[[], Config],
        to_workers: Sequence[socket.socket],
        https_at: tuple[str, int] | None,
        life: Life,
    ) -> None:
        self._config = config
        self._life = life
        self._issuing = Issuing(
            config,
            listening_at=lambda: https_at,
            notify=life.notify,
            clock=SystemClock(),
            rng=random.Random(),
            spread=lambda: self._workers.spread(),
        )
        self._workers = Workers(self._issuing, to_workers, served=life.served, config=config, generation=generation)
        status = self._issuing.status
        self._reload = Reload(config, load=load, apply=self._apply, notify=life.notify, status=status)

    def run(self) -> int:
        """Work until TERM; return the exit status."""
        status = 0
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._run())
        except* StoreError as group:
            tell_why(group)
            status = 2
        return status

    async def _run(self) -> None:
        stop, reload = signals(signal.SIGTERM)  # INT from a terminal is the supervisor's, as for all its children
        self._life.told = self._told
        self._issuing.open()
        self._life.begin()  # now that nothing blocks the loop
        try:
            async with asyncio.TaskGroup() as tasks:
                self._pools = Pools(tasks=tasks, counters=Counters(), judged=self._workers.judged)
                await self._issuing.apply(self._config)
                await self._check_upstreams(self._config)
                self._workers.open(tasks)
                keep_all()
                self._issuing.start(tasks, counted=self._workers.counted, upstreams=self._pools.states)
                works = self._reload.run(reload), self._workers.run(), tell_repeated()
                working = [tasks.create_task(one) for one in works]
                self._life.notify(f"STATUS={self._issuing.status()}")
                self._life.ready()
                await stop.wait()
                for task in working:
                    task.cancel()
                self._issuing.stop()
                self._issuing.end()
                self._workers.close()
                self._pools.close()
        finally:
            await self._issuing.close()

    async def _apply(self, config: Config) -> None:
        """Put `config` in force everywhere, or raise ReloadRefused. A worker that starts meanwhile is told as well."""
        # Who is replaced before the next restart must not differ from the others.
        running = config.model_copy(update={key: getattr(self._config, key) for key in AT_RESTART})
        pickled = await asyncio.to_thread(pickle.dumps, running)
        generation = await self._workers.prepare(pickled)
        await self._issuing.apply(config)
        await self._check_upstreams(config)
        self._life.configuration(generation, pickled)
        await self._workers.adopt(generation)

    def _told(self, message: Message) -> None:
        if "stopping" in message:
            self._issuing.stop()
        elif "gone" in message:
            self._workers.gone(message["gone"] - 1)

    async def _check_upstreams(self, config: Config) -> None:
        """Ask for the health of the upstreams: once, whoever serves."""
        self._pools.adopt(await asyncio.to_thread(self._pools.prepare, config.served))
