"""The processes that serve, as the one that obtains certificates sees them: who is told what, and who has heard it."""

import asyncio
import logging
import pickle
import socket
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from proxyd.config.model import Config
from proxyd.core.counters import Document, of_gone, summed
from proxyd.core.hostname import Hostname
from proxyd.daemon.channel import Channel, Message
from proxyd.daemon.issuing import Issuing
from proxyd.daemon.reload import ReloadRefused

_log = logging.getLogger("proxyd.issuer")
_SPREAD_SECONDS = 5.0
_COUNT_SECONDS = 1.0
_PREPARE_SECONDS = 60.0
#: Files that may hold a certificate, told with it; whoever does not find it there has it handed over.
_PLACES = 100


class _Worker:
    """One place; `generation` is that of the configuration of the process there, None while there is none.

    `prepared`: the last one that it prepared; `failed`: the last one that it could not, and why.
    """

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.pid = 0
        self.generation: int | None = None
        self.prepared: int | None = None
        self.failed: tuple[int, str] = 0, ""
        self.synced = 0
        self.questions: dict[int, asyncio.Task[None]] = {}
        self.counted: Document | None = None
        self.is_counting = False


class Workers:
    """Keeps the workers at the other ends of `sockets` up to date with `issuing`, and with the configuration.

    `served` is told what those should know from the beginning that are started later.
    """

    def __init__(
        self,
        issuing: Issuing,
        sockets: Sequence[socket.socket],
        *,
        served: Callable[[Message], None],
        config: Config,
        generation: int,
    ) -> None:
        self._issuing = issuing
        self._certificates = issuing.certificates
        self._sockets = sockets
        self._workers = [_Worker() for _ in sockets]
        self._heard_something = asyncio.Event()
        self._generation = generation
        self._served = served
        self._config = config
        self._pickled = b""
        self._preparing: tuple[int, bytes] | None = None
        self._syncs = time.monotonic_ns()  # a late word to an issuer before is about no other news
        self._changed: set[Hostname] = set()
        self._has_new_challenges = False
        self._renewed: set[Hostname] = set()
        self._is_flush_due = False
        self._is_read = False
        self._gone: list[Document] = []
        self._log_files = issuing.log_files
        self._verdicts: dict[str, bool] = {}
        self._experience: dict[str, Sequence[Any]] = {}
        issuing.table.changed = self._table_changed
        self._certificates.memory.renewals.changed = self._renewals_changed
        self._certificates.board.changed = self._certificates.challenges.changed = self._challenges_changed

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Talk to the workers from now on."""
        self._tasks = tasks
        for worker, sock in zip(self._workers, self._sockets, strict=True):
            worker.channel = Channel(sock, partial(self._heard, worker))
            worker.channel.send({"hello": True})

    async def run(self) -> None:
        """Tell when all is known that the cache has."""
        await self._certificates.ready()
        self._is_read = True
        for worker in self._joined():
            self._tell_state(worker)

    def close(self) -> None:
        """Answer nothing any more."""
        for worker in self._workers:
            self._forget_questions(worker)
            if worker.channel is not None:
                worker.channel.close()

    def gone(self, place: int) -> None:
        """Wait for nobody there until the next process joins."""
        self._workers[place].generation = None
        self._log_files.gone(place)
        self._heard_something.set()

    # Configurations

    def next_generation(self) -> int:
        """Return a generation for another configuration: a late word is about no other one."""
        return max(self._generation + 1, time.monotonic_ns())

    async def prepare(self, generation: int, pickled: bytes) -> None:
        """Have all workers prepare a configuration. Raises ReloadRefused: one cannot."""
        self._preparing = generation, pickled
        try:
            await self._prepare(generation, pickled)
        finally:
            self._preparing = None
        self._generation, self._pickled = generation, pickled

    async def _prepare(self, generation: int, pickled: bytes) -> None:
        for worker in self._joined():
            self._send(worker, {"prepare": generation}, pickled)

        def is_over() -> bool:
            return all(generation in (one.prepared, one.failed[0]) for one in self._joined())

        if not await self._until(is_over, _PREPARE_SECONDS):
            raise ReloadRefused(f"a process did not prepare it within {_PREPARE_SECONDS:g} s")
        if why := next((one.failed[1] for one in self._joined() if one.failed[0] == generation), ""):
            raise ReloadRefused(f"a process could not prepare it: {why}")

    async def adopt(self, generation: int) -> None:
        """Have all workers serve what they prepared. Who started meanwhile gets it too; who hangs is replaced."""
        for worker in self._joined():
            self._send(worker, {"adopt": generation})
        if not await self._until(lambda: all(one.generation == generation for one in self._joined()), _SPREAD_SECONDS):
            _log.error("a process does not serve the new configuration yet: if it hangs, it is replaced soon")

    # Counts

    async def counted(self) -> list[Document]:
        """Return what each worker counted, and all that are gone; of one that hangs, what it had counted before."""
        for worker in self._joined():
            worker.is_counting = True
            self._send(worker, {"count": True})
        await self._until(lambda: not any(one.is_counting for one in self._joined()), _COUNT_SECONDS)
        return [worker.counted for worker in self._workers if worker.counted is not None] + self._gone

    # News

    async def spread(self) -> None:
        """Wait until all workers know what was published and put into the table; not for one that hangs."""
        self._flush()
        self._syncs += 1
        sync = self._syncs
        for worker in self._joined():
            self._send(worker, {"sync": sync})
        if not await self._until(lambda: all(one.synced >= sync for one in self._joined()), _SPREAD_SECONDS):
            _log.warning("a process does not take news of certificates: if it hangs, it is replaced soon")

    def judged(self, verdicts: dict[str, bool]) -> None:
        """Tell what checks say of upstreams."""
        self._verdicts |= verdicts
        for worker in self._joined():
            self._send(worker, {"judge": verdicts})

    def _noticed(self, worker: _Worker, check: str, experience: Sequence[Any]) -> None:
        """Tell the others what one of them learnt about an upstream."""
        failures, *_ = experience
        if failures:
            self._experience[check] = experience
        else:
            self._experience.pop(check, None)
        for other in self._joined():
            if other is not worker:
                self._send(other, {"noticed": [check, experience]})

    def _table_changed(self, host: Hostname) -> None:
        self._changed.add(host)
        self._flush_soon()

    def _challenges_changed(self) -> None:
        self._has_new_challenges = True
        self._flush_soon()

    def _renewals_changed(self, host: Hostname) -> None:
        self._renewed.add(host)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        news: Message = {}
        if self._changed:
            changed, self._changed = self._changed, set()
            news["serve"] = self._references(changed)
            self._served(news["serve"])
        if self._has_new_challenges:
            self._has_new_challenges = False
            news["challenges"] = self._challenges()
        if self._renewed:
            renewed, self._renewed = self._renewed, set()
            news["renewals"] = {host.text: self._certificates.memory.renewals.of(host) for host in renewed}
        if news:
            for worker in self._joined():
                self._send(worker, news)

    def _tell_state(self, worker: _Worker) -> None:
        """Tell a worker everything that there is to know."""
        state = {
            "state": self._references(self._issuing.table.hosts()),
            "complete": self._is_read,
            "challenges": self._challenges(),
            "renewals": {host.text: count for host, count in self._certificates.memory.renewals.counts().items()},
            "key": self._certificates.names.self_check.key.hex(),
        }
        self._send(worker, state)
        self._send(worker, {"judge": self._verdicts})
        for check, experience in self._experience.items():
            self._send(worker, {"noticed": [check, experience]})

    def _references(self, hosts: Iterable[Hostname]) -> dict[str, Any]:
        table = self._issuing.table
        return {
            host.text: [
                (one.digest, [host.text, *_exact(one.names, host)][:_PLACES]) for one in table.certificates(host)
            ]
            for host in hosts
        }

    def _challenges(self) -> dict[str, Any]:
        http, tls = self._certificates.board.pending(), self._certificates.challenges.pending()
        return {
            "http": [(host.text, token, answer) for (host, token), answer in http.items()],
            "tls": [(host.text, token, digest.hex()) for host, (token, digest) in tls.items()],
        }

    # What workers say

    def _heard(self, worker: _Worker, message: Message, _: bytes) -> None:
        try:
            self._take(worker, message)
        except (TypeError, ValueError, KeyError, AttributeError):
            _log.exception("a worker sent a message that is none")
        self._heard_something.set()

    def _take(self, worker: _Worker, message: Message) -> None:
        match message:
            case {"ask": _, "number": int(number)}:
                worker.questions[number] = self._tasks.create_task(self._answer(worker, number, message))
            case {"forget": int(number)}:
                if asking := worker.questions.pop(number, None):
                    asking.cancel()
            case {"counted": document}:
                worker.counted, worker.is_counting = document, False
            case {"hit": [name, client, token, agent]}:
                self._certificates.hits.by_http(Hostname(name), client, token, agent)
            case {"hit": [name, client, token]}:
                self._certificates.hits.by_tls(Hostname(name), client, token)
            case {"traffic": noted}:
                for name, at in noted.items():
                    self._issuing.traffic.note(Hostname(name), float(at))
            case {"noticed": [str(check), experience]}:
                self._noticed(worker, check, experience)
            case {"joined": int(generation), "pid": int(pid)}:
                self._join(worker, generation, pid)
            case {"log_file": str(path), "reason": reason, "lost": int(lost)}:
                self._log_files.heard(self._workers.index(worker), Path(path), reason, lost)
            case {"prepared": int(generation)}:
                worker.prepared = generation
                if worker.generation != self._generation == generation:
                    self._send(worker, {"adopt": generation})
            case {"failed": int(generation), "why": str(why)}:
                worker.failed = generation, why
            case {"adopted": int(generation)}:
                worker.generation = generation
            case {"synced": int(sync)}:
                worker.synced = sync
            case _:
                raise ValueError(str(message)[:200])

    def _join(self, worker: _Worker, generation: int, pid: int) -> None:
        """Tell a process everything; it may have started with a configuration that is no longer in force."""
        if worker.pid != pid:  # else it lost a message, and waits for answers
            self._forget_questions(worker)
            if worker.counted is not None:
                self._gone = [summed([*self._gone, of_gone(worker.counted)])]
                worker.counted = None
            if worker.channel is not None:
                worker.channel.forget()
        worker.pid, worker.generation, worker.synced = pid, generation, 0
        if generation < self._generation:
            self._pickled = self._pickled or pickle.dumps(self._config)
            self._send(worker, {"prepare": self._generation}, self._pickled)
        if self._preparing is not None:
            self._send(worker, {"prepare": self._preparing[0]}, self._preparing[1])
        self._tell_state(worker)
        self._send(worker, {"sync": self._syncs})

    async def _answer(self, worker: _Worker, number: int, question: Message) -> None:
        answer, payload = None, b""
        try:
            answer, payload = await self._found(question)
        except Exception:  # noqa: BLE001 - the root of this task
            _log.exception("a question of a process that serves could not be answered")
        finally:
            if worker.questions.pop(number, None) is not None:
                self._flush()  # what the answer is about comes before it
                self._send(worker, {"re": number, "answer": answer}, payload)

    async def _found(self, question: Message) -> tuple[Any, bytes]:
        match question:
            case {"ask": "read", "host": str(name)}:
                return await self._certificates.cache_read(Hostname(name)), b""
            case {"ask": "obtain", "host": str(name), "client": str(client)}:
                return (await self._certificates.on_demand.wait(name, client)).value, b""
            case {"ask": "hand", "host": str(name), "digest": digest}:
                served = self._issuing.table.certificates(Hostname(name))
                return None, next((one.pem for one in served if one.digest == digest), b"")
            case _:
                return None, b""

    def _forget_questions(self, worker: _Worker) -> None:
        questions, worker.questions = worker.questions, {}
        for task in questions.values():
            task.cancel()

    def _joined(self) -> Iterable[_Worker]:
        return (worker for worker in self._workers if worker.generation is not None)

    def _send(self, worker: _Worker, message: Message, payload: bytes = b"") -> None:
        if worker.channel is not None:
            worker.channel.send(message, payload)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._heard_something.clear()
                    await self._heard_something.wait()
        except TimeoutError:
            return False
        return True


def _exact(names: Collection[Hostname], host: Hostname) -> list[str]:
    return sorted(name.text for name in names if name != host and not name.text.startswith("*"))
