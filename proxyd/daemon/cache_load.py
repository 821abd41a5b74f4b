"""Reads what the cache has while the listeners are up already: who is asked for is read first."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.store.live_file import host_of
from proxyd.store.store import Store, StoreError

_log = logging.getLogger("proxyd.certificates")
_AT_ONCE = 50  # hosts handed to the event loop together: it must not be woken ten thousand times
_WAIT_SECONDS = 10.0

Read = Callable[[Iterable[Lineage]], Iterator[tuple[Lineage, Certificate | None]]]
Show = Callable[[Lineage, Certificate], bool]


@dataclass(slots=True, eq=False)
class _Entry:
    """What is read together, so that a host never serves with only one of its certificates."""

    lineages: list[Lineage] = field(default_factory=list)
    found: list[tuple[Lineage, Certificate]] = field(default_factory=list)
    is_asked: bool = False
    is_taken: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class CacheLoad:
    """One pass over the cache. `read` runs in a thread and takes each lineage when it comes to it.

    `show` is called in the event loop with what was found; false: it cannot serve.
    """

    def __init__(
        self, lineages: Iterable[Lineage], *, read: Read, show: Show, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self._read = read
        self._show = show
        self._wait_seconds = wait_seconds
        entries: dict[Hostname, _Entry] = {}
        self._unread: dict[Hostname, set[_Entry]] = {}
        for lineage in lineages:
            entry = entries.setdefault(lineage.host, _Entry())
            entry.lineages.append(lineage)
            for name in lineage.names:
                self._unread.setdefault(name, set()).add(entry)
        self._entries = list(entries.values())
        self._asked: deque[_Entry] = deque()
        self._is_stopped = False
        self._found: dict[Lineage, Certificate] = {}

    async def run(self) -> dict[Lineage, Certificate]:
        """Read everything; return what serves."""
        loop = asyncio.get_running_loop()
        try:
            # What the thread hands over is queued in the loop before its end is.
            await asyncio.to_thread(self._read_all, lambda done: loop.call_soon_threadsafe(self._publish, done))
        finally:
            self._is_stopped = True
        found, self._found, self._entries = self._found, {}, []
        return found

    async def wait(self, host: Hostname) -> bool:
        """Return whether everything is read that could serve `host`, after a bounded time."""
        wanted = self._unread.get(host)
        if not wanted:
            return True
        for entry in wanted:
            if not entry.is_asked:
                entry.is_asked = True
                self._asked.append(entry)
        try:
            async with asyncio.timeout(self._wait_seconds):
                for entry in [*wanted]:
                    await entry.over.wait()
        except TimeoutError:
            return False
        return True

    # In the event loop

    def _publish(self, done: Iterable[_Entry]) -> None:
        for entry in done:
            self._found.update({lineage: one for lineage, one in entry.found if self._show(lineage, one)})
            for name in {name for lineage in entry.lineages for name in lineage.names}:
                if (left := self._unread.get(name)) is not None:
                    left.discard(entry)
                    if not left:
                        del self._unread[name]
            entry.over.set()

    # In the thread

    def _read_all(self, hand_over: Callable[[list[_Entry]], object]) -> None:
        done: list[_Entry] = []
        current = _Entry()

        def wanted() -> Iterator[Lineage]:
            nonlocal current, done
            for current in self._in_order():
                yield from current.lineages
                done.append(current)  # asked for the next one: all of this one has been given
                if current.is_asked or len(done) >= _AT_ONCE:
                    hand_over(done)
                    done = []

        for lineage, certificate in self._read(wanted()):
            if certificate is not None:
                current.found.append((lineage, certificate))
        hand_over(done)

    def _in_order(self) -> Iterator[_Entry]:
        rest = iter(self._entries)
        while not self._is_stopped:
            entry = self._asked.popleft() if self._asked else next(rest, None)
            if entry is None:
                return
            if not entry.is_taken:
                entry.is_taken = True
                yield entry


def hosts_in(store: Store) -> set[Hostname]:
    """Return the hosts of which the cache has something. Blocks."""
    try:
        keys = store.names()
    except StoreError as error:
        _log.error("names under wildcard hosts are not known", extra={"reason": str(error)})
        return set()
    return {host for key in keys if (host := host_of(key))}
