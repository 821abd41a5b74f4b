"""The addresses behind the names of upstreams: asked anew all the time, without making requests wait for it."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

_log = logging.getLogger("proxyd.upstream")
#: Shorter than the TTL of nearly every record: the system's resolver does not tell it.
_FRESH_SECONDS = 5.0
_FAILED_SECONDS = 1.0
#: How long a request waits for newer addresses when there are older ones.
_PATIENCE_SECONDS = 0.5


class _Kept(NamedTuple):
    until: float
    addresses: tuple[str, ...]
    error: OSError | None


class AddressBook:
    """Looks names up, each once at a time. What was found last holds while there is no newer answer."""

    def __init__(
        self, *, tasks: asyncio.TaskGroup, ask: Callable[[str], Awaitable[tuple[str, ...]]] | None = None
    ) -> None:
        self._tasks = tasks
        self._ask = ask or _ask_system
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return all addresses of `name`, in the order in which they are to be tried. Raises OSError."""
        kept = self._kept.get(name)
        if kept is None or kept.until <= asyncio.get_running_loop().time():
            asking = self._asking.get(name)
            if asking is None:
                asking = self._asking[name] = self._tasks.create_task(self._look_up(name))
            await asyncio.wait({asking}, timeout=_PATIENCE_SECONDS if kept is not None and kept.addresses else None)
            kept = self._kept.get(name)
        if kept is None:
            raise OSError(f"nobody looks {name} up any more")
        if not kept.addresses:
            raise OSError(str(kept.error))
        return kept.addresses

    def forget_all_but(self, names: set[str]) -> None:
        """Drop what is not needed any more."""
        for name in self._kept.keys() - names:
            del self._kept[name]

    def close(self) -> None:
        """Wait for no answer any more."""
        for task in self._asking.values():
            task.cancel()

    async def _look_up(self, name: str) -> None:
        before = self._kept.get(name)
        loop = asyncio.get_running_loop()
        try:
            found = await self._ask(name)
        except OSError as error:
            if before is not None and before.addresses:
                reason = error.strerror or str(error)
                _log.warning("upstream's name not found: its last addresses are used", extra=_said(name, reason))
                self._kept[name] = _Kept(loop.time() + _FRESH_SECONDS, before.addresses, None)
            else:
                self._kept[name] = _Kept(loop.time() + _FAILED_SECONDS, (), error)
        except Exception as error:  # noqa: BLE001 - the root of this task: an error that left it would end the daemon
            _log.exception("a look-up failed in an unforeseen way", extra={"upstream": name})
            self._kept[name] = _Kept(loop.time() + _FAILED_SECONDS, (), OSError(str(error)))
        else:
            self._kept[name] = _Kept(loop.time() + _FRESH_SECONDS, found, None)
            if before is not None and set(before.addresses) != set(found):
                _log.info("upstream has new addresses", extra={"upstream": name, "addresses": ", ".join(found)})
        finally:
            del self._asking[name]


def _said(name: str, reason: str) -> dict[str, str]:
    return {"upstream": name, "reason": reason}


async def _ask_system(name: str) -> tuple[str, ...]:
    """The event loop asks in a thread: /etc/hosts, DNS, whatever the machine is set up for."""
    infos = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    found = dict.fromkeys(str(info[4][0]) for info in infos)
    if not found:
        raise OSError("it has no address")
    return tuple(found)
