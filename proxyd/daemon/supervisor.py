"""Keeps the listening sockets, one issuer and the workers, and replaces whoever ends or answers no more.

It has no event loop, no thread and no configuration to load: nothing in it can hang, and it can fork at any time.
"""

import gc
import logging
import mmap
import os
import pickle
import secrets
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from proxyd.config.model import Config, ListenOptions
from proxyd.core.rate_limit import SIZE, RateTable
from proxyd.core.shared_counts import SharedCounts, size_for
from proxyd.daemon.channel import Message, channel_pair, receive
from proxyd.daemon.child import Child, Life, how_it_ended
from proxyd.daemon.issuer_process import IssuerProcess
from proxyd.daemon.listening import Listening, bound, log_listening
from proxyd.daemon.logs import set_up, tell_repeated_now
from proxyd.daemon.privileges import OF_WORKER, give_up_rights
from proxyd.daemon.reload import log_warnings
from proxyd.daemon.systemd import Watchdog, notify, stopping
from proxyd.daemon.worker_process import WorkerProcess
from proxyd.frontend.listener import ListenError

_log = logging.getLogger("proxyd.supervisor")
_TICK = 1.0
#: After the drain, until whoever is still there is killed.
_MERCY = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
#: Each child is told by us when it is its turn.
_NOT_FOR_CHILDREN = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Supervisor:
    """Runs `workers` processes that serve, and one that obtains certificates. `load` reads the configuration anew."""

    def __init__(self, config: Config, *, load: Callable[[], Config], workers: int) -> None:
        self._pid = os.getpid()
        self._config, self._generation = config, 0
        self._load = load
        self._listening = Listening(workers=workers)
        self._https_at: tuple[str, int] | None = None
        self._next: tuple[int, Listening] | None = None  # of a configuration that is being prepared
        self._channels = [channel_pair() for _ in range(workers)]
        self._children = [Child("issuer"), *(Child(f"worker {number}") for number in range(1, workers + 1))]
        self._beats = memoryview(mmap.mmap(-1, 8 * len(self._children))).cast("Q")
        secret, memory = secrets.token_bytes(32), memoryview(mmap.mmap(-1, size_for(workers)))
        self._counts = [SharedCounts(memory, number, secret=secret) for number in range(workers)]
        self._rates = RateTable(memoryview(mmap.mmap(-1, SIZE)), secret=secrets.token_bytes(32))
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakes = socket.socketpair()
        self._status = ""
        self._watchdog = Watchdog(notify)
        self._served: dict[str, Any] = {}
        self._is_up = False
        self._wants_reload = self._is_reloading = self._has_tried_again = False
        self._exit: int | None = None
        self._deadline = float("inf")

    def run(self) -> int:
        """Serve until TERM or INT, then drain; return the exit status. Raises ListenError."""
        self._hear_signals()  # first of all: they would end a process that has no children yet
        self._listening = bound(self._config.listen, workers=len(self._counts))
        self._https_at = self._listening.sockets().https_at
        log_warnings(self._config)
        gc.collect()
        gc.freeze()  # what is shared stays shared
        tick = time.monotonic()
        while self._exit is None or any(child.pid for child in self._children):
            self._spawn_missing()
            for key, _ in self._selector.select(max(0.0, tick - time.monotonic())):
                self._safely(key.data)
            if (now := time.monotonic()) >= tick:
                tick = now + _TICK
                self._look(now)
        tell_repeated_now(rest=True)
        _log.info("stopped")
        return self._exit

    def _safely(self, work: Callable[[], object]) -> None:
        """Go on whatever the machine refuses: descriptors, memory, processes."""
        try:
            work()
        except Exception:  # noqa: BLE001 - everybody would end with this process
            _log.exception("the supervisor could not do something: it goes on")

    # Children

    def _spawn_missing(self) -> None:
        if self._exit is None:
            now = time.monotonic()
            for number, child in enumerate(self._children):
                if not child.pid and child.born_from <= now:
                    child.is_late(now)  # should there be no room for it now
                    self._safely(partial(self._spawn, number, child))

    def _spawn(self, number: int, child: Child) -> None:
        line, theirs = channel_pair()
        self._beats[number] = 0
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the child has handlers of its own
        try:
            if not (pid := os.fork()):
                line.close()
                self._become(number, theirs)
            child.began(pid, line, time.monotonic())
        except OSError:
            line.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            theirs.close()
        self._selector.register(line, selectors.EVENT_READ, partial(self._heard, child))
        self._hand(number, child)

    def _become(self, number: int, line: socket.socket) -> None:
        """Be the child from now on."""
        status = 1
        try:
            self._leave_behind(number)
            if number:
                give_up_rights(OF_WORKER)
            life = Life(line, self._beats, number, supervisor=self._pid)
            if number:
                status = WorkerProcess(
                    self._config,
                    self._generation,
                    sockets=self._listening.sockets(number - 1),
                    to_issuer=self._channels[number - 1][1],
                    counts=self._counts[number - 1],
                    rates=self._rates,
                    served=self._served,
                    life=life,
                ).run()
            else:
                status = IssuerProcess(
                    self._config,
                    self._generation,
                    load=self._load,
                    to_workers=[issuer for issuer, _ in self._channels],
                    https_at=self._https_at,
                    life=life,
                ).run()
        except BaseException:  # noqa: BLE001 - the root of this process
            _log.exception("a process failed")
        finally:
            os._exit(status)  # nothing of the supervisor's is to be undone here

    def _leave_behind(self, number: int) -> None:
        """Close what is for others: a listening socket that nobody accepts from would keep its clients waiting."""
        signal.set_wakeup_fd(-1)
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN if one in _NOT_FOR_CHILDREN else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        self._selector.close()
        self._woken.close()
        self._wakes.close()
        for child in self._children:
            child.close()
        mine = set(self._listening.sockets(number - 1).all()) if number else set()
        others = self._listening.all() | (self._next[1].all() if self._next is not None else set())
        for sock in others - mine:
            sock.close()
        for place, (issuer, worker) in enumerate(self._channels, 1):
            if number:
                issuer.close()
            if number != place:
                worker.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for number, child in enumerate(self._children):
                if child.pid == pid:
                    self._ended(number, child, os.waitstatus_to_exitcode(status))

    def _ended(self, number: int, child: Child, code: int) -> None:
        while self._heard(child):  # its last words
            pass
        fields = {"which": child.name, "pid": child.pid, "how": how_it_ended(code)}
        self._hang_up(child)
        child.ended(time.monotonic())
        if number:
            self._counts[number - 1].clear()
            self._children[0].tell(gone=number)
        else:
            self._unlisten()
            if self._is_reloading:
                self._reload_again()
        if self._exit is not None:
            self._end_issuer()
        elif not self._is_up:
            self._stop(code if code > 0 else 1)
        else:
            _log.error("a process ended: it is replaced", extra=fields)

    def _hang_up(self, child: Child) -> None:
        if child.line is not None:
            self._selector.unregister(child.line)
        child.close()

    def _look(self, now: float) -> None:
        """Kill who answers no more, and show that we are not one of them."""
        tell_repeated_now()
        self._watchdog.alive(now)
        self._reap()
        for number, child in enumerate(self._children):
            if child.pid and child.is_frozen(self._beats[number]):
                _log.error("a process does not answer: it is killed, and replaced", extra={"which": child.name})
                child.signal(signal.SIGKILL)
        if now >= self._deadline:
            for child in self._children:
                child.signal(signal.SIGKILL)

    # What is heard

    def _heard(self, child: Child) -> bool:
        """Take one message of a child; return whether there may be another. Whatever it sends, we go on."""
        try:
            found = receive(child.line) if child.line is not None else None
            if found is not None:
                self._take(child, *found)
        except BlockingIOError:
            return False
        except ConnectionError:  # it ended without having read what it was told
            found = None
        except Exception:  # noqa: BLE001 - no child may end the supervisor
            _log.exception("a message of a process is lost", extra={"which": child.name})
            self._wants_reload = True  # who starts next may lack what it said
            return True
        if found is None:
            self._hang_up(child)  # it closed its end, or is about to be reaped
        return found is not None

    def _take(self, child: Child, message: Message, payload: bytes) -> None:
        if "ready" in message:
            child.is_ready = True
            self._became_ready()
        elif child is not self._children[0]:
            _log.error("a worker sent what only the issuer says", extra={"which": child.name})
        elif "notify" in message:
            self._told(message["notify"])
        elif "served" in message:
            self._served.update(message["served"])
            for name in [name for name, references in message["served"].items() if not references]:
                del self._served[name]
        elif "listen" in message:
            self._listen(message["listen"], pickle.loads(payload))
        elif "unlisten" in message:
            self._unlisten()
        elif "configuration" in message:
            self._config, self._generation = pickle.loads(payload), message["configuration"]
            self._listen_on(message["configuration"])
            set_up(level=self._config.log.level, format=self._config.log.format)

    # Where clients reach us

    def _listen(self, generation: int, listen: ListenOptions) -> None:
        """Have sockets for a configuration that is to come, beside those of now. Nothing here waits for a port."""
        self._unlisten()
        issuer, *workers = self._children
        try:
            found = self._listening.changed(listen)
        except ListenError as error:
            issuer.tell(listening=generation, why=str(error))
            return
        self._next = generation, found
        for number, worker in enumerate(workers, 1):
            self._hand(number, worker)
        issuer.tell(listening=generation, at=found.sockets().https_at)

    def _hand(self, number: int, worker: Child) -> None:
        """Give a worker the sockets that it does not have yet, and say which ones it accepts from when it is time."""
        if self._next is None or not number:
            return
        generation, listening = self._next
        has, wanted = self._listening.sockets(number - 1).by_place(), listening.sockets(number - 1).by_place()
        new = [place for place in wanted if place not in has]
        worker.hand([wanted[one] for one in new], listen=generation, places=[*wanted], new=new)

    def _listen_on(self, generation: int) -> None:
        """Take what was bound for a configuration that is in force now; what it does not name is closed."""
        if self._next is not None and self._next[0] == generation:
            before, (_, self._listening), self._next = self._listening, self._next, None
            self._listening.keep(instead_of=before)
            before.close(but=self._listening)
            self._https_at = self._listening.sockets().https_at
            log_listening(self._listening.sockets())

    def _unlisten(self) -> None:
        """Close what was bound for a configuration that does not come."""
        if self._next is not None:
            (generation, listening), self._next = self._next, None
            listening.close(but=self._listening)
            for worker in self._children[1:]:
                worker.tell(unlisten=generation)

    def _became_ready(self) -> None:
        if not self._is_up and all(child.is_ready for child in self._children):
            self._is_up = True
            log_listening(self._listening.sockets())
            notify("READY=1", f"STATUS={self._status}")
        self._reload()

    def _reload(self) -> None:
        """Have the issuer read the file again, as soon as it can."""
        if self._wants_reload and self._children[0].is_ready:
            self._wants_reload, self._is_reloading = False, True
            self._children[0].signal(signal.SIGHUP)

    def _reload_again(self) -> None:
        """The issuer ended in the middle of a reload: the next one tries it, once."""
        self._is_reloading = False
        if self._has_tried_again:
            _log.error("a reload ended twice with the process that did it: what served before serves on")
            notify("READY=1", f"STATUS={self._status}")
        self._wants_reload = not self._has_tried_again
        self._has_tried_again = not self._has_tried_again

    def _told(self, lines: Sequence[str]) -> None:
        for line in lines:
            if line.startswith("STATUS="):
                self._status = line.removeprefix("STATUS=")
        if "RELOADING=1" in lines:  # be it by us, by a command or because the file changed
            self._is_reloading = True
        if "READY=1" in lines:
            self._is_reloading = self._has_tried_again = False
        if self._is_up and self._exit is None:
            notify(*lines)

    def _hear_signals(self) -> None:
        self._woken.setblocking(False)
        self._wakes.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._signalled)

    def _signalled(self) -> None:
        numbers = set(self._woken.recv(4096))
        if signal.SIGCHLD in numbers:
            self._reap()
        if numbers & {signal.SIGHUP, signal.SIGUSR1}:
            for worker in self._children[1:]:  # logs may have been moved away
                worker.signal(signal.SIGUSR1)
        if signal.SIGHUP in numbers:
            self._wants_reload = True
            self._reload()
        if numbers & {signal.SIGTERM, signal.SIGINT} and self._exit is None:
            notify(*stopping(self._config.drain.total_seconds() + _MERCY))
            _log.info("stopping: finishing what is in flight", extra={"at_most": self._config.drain})
            self._stop(0)

    def _stop(self, status: int) -> None:
        self._exit = status
        self._deadline = time.monotonic() + self._config.drain.total_seconds() + _MERCY
        self._unlisten()
        self._listening.close()
        issuer, *workers = self._children
        issuer.tell(stopping=True)
        for worker in workers:
            worker.signal(signal.SIGTERM)
        self._end_issuer()

    def _end_issuer(self) -> None:
        """The issuer ends last: until then it shows that the daemon stops."""
        issuer, *workers = self._children
        if not any(worker.pid for worker in workers):
            issuer.signal(signal.SIGTERM)
