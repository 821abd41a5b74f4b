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
from proxyd.daemon.referred_files import ReferredFiles
from proxyd.daemon.reload import Reload, ReloadRefused, as_started
from proxyd.daemon.system_clock import SystemClock
from proxyd.daemon.watch import Watch
from proxyd.daemon.workers import Workers
from proxyd.store.store import StoreError
from proxyd.upstream.pools import Pools

_LISTEN_SECONDS = 10.0


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
        self._https_at = https_at
        self._life = life
        self._listening: tuple[int, asyncio.Future[Message]] | None = None
        self._issuing = Issuing(
            config,
            listening_at=lambda: self._https_at,
            notify=life.notify,
            clock=SystemClock(),
            rng=random.Random(),
            reload=lambda may_drop: self._reload.ask(may_drop=may_drop),
            spread=lambda: self._workers.spread(),
        )
        self._workers = Workers(self._issuing, to_workers, served=life.served, config=config, generation=generation)
        self._reload = Reload(
            config,
            load=load,
            apply=self._apply,
            notify=life.notify,
            status=self._issuing.status,
            last=self._issuing.last_reload,
            clock=self._issuing.clock,
        )

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
        # INT from a terminal is the supervisor's, as for all its children.
        stop = signals(signal.SIGTERM, reload=self._reload.want)
        self._life.told = self._told
        self._issuing.open()
        self._life.begin()  # now that nothing blocks the loop
        try:
            async with asyncio.TaskGroup() as tasks:
                self._pools = Pools(tasks=tasks, counters=Counters(), judged=self._workers.judged)
                await self._reload.begin()
                await self._issuing.apply(self._config)
                await self._check_upstreams(self._config)
                self._workers.open(tasks)
                keep_all()
                self._issuing.start(tasks, counted=self._workers.counted, upstreams=self._pools.states)
                watches = Watch(self._reload).run(), ReferredFiles(self._reload).run()
                works = self._reload.run(), *watches, self._workers.run(), tell_repeated()
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
        running = as_started(config, self._config)
        pickled = await asyncio.to_thread(pickle.dumps, running)
        generation = self._workers.next_generation()
        try:
            https_at = await self._listen(generation, config)
            await self._workers.prepare(generation, pickled)
            await self._issuing.apply(config)
            await self._check_upstreams(config)
        except BaseException:
            self._life.unlisten(generation)
            raise
        self._life.configuration(generation, pickled)
        await self._workers.adopt(generation)
        self._https_at = https_at

    async def _listen(self, generation: int, config: Config) -> tuple[str, int] | None:
        """Have the supervisor bind what `config` listens on; return where TLS is then. Raises ReloadRefused."""
        if config.listen == self._reload.config.listen:
            return self._https_at
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._listening = generation, answer
        self._life.listen(generation, pickle.dumps(config.listen))
        try:
            async with asyncio.timeout(_LISTEN_SECONDS):
                found = await answer
        except TimeoutError:
            reason = f"the supervisor did not bind the addresses of listen within {_LISTEN_SECONDS:g} s: try again"
            raise ReloadRefused(reason) from None
        finally:
            self._listening = None
        if "why" in found:
            raise ReloadRefused(found["why"])
        return tuple(found["at"]) if found["at"] else None

    def _told(self, message: Message) -> None:
        if "stopping" in message:
            self._issuing.stop()
        elif "listening" in message:
            generation, answer = self._listening or (0, None)
            if answer is not None and generation == message["listening"] and not answer.done():
                answer.set_result(message)
        elif "gone" in message:
            self._workers.gone(message["gone"] - 1)

    async def _check_upstreams(self, config: Config) -> None:
        """Ask for the health of the upstreams: once, whoever serves."""
        self._pools.adopt(await asyncio.to_thread(self._pools.prepare, config.served))
