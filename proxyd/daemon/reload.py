"""A new configuration takes the place of the old one: all of it, or nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxyd.config.document import ConfigError
from proxyd.config.model import Config
from proxyd.daemon.garbage import building
from proxyd.daemon.logs import set_up
from proxyd.daemon.systemd import Notify, reloading

_log = logging.getLogger("proxyd.daemon")
#: What listeners and stores are made of.
AT_RESTART = ("listen", "cache", "admin", "fast_path", "workers")


class ReloadRefused(Exception):
    """The new configuration cannot be taken over; the text says why."""


class Reload:
    """Knows the configuration that is in force. `load` reads it anew, and raises ConfigError; `apply` puts it in force.

    `apply` raises ReloadRefused when nothing was changed.
    """

    def __init__(
        self,
        config: Config,
        *,
        load: Callable[[], Config],
        apply: Callable[[Config], Awaitable[None]],
        notify: Notify,
        status: Callable[[], str],
    ) -> None:
        self.config = self._started = config
        self._load = load
        self._apply = apply
        self._notify = notify
        self._status = status

    async def run(self, wish: asyncio.Event) -> None:
        """Reload at each wish. Ends only by cancellation."""
        while True:
            await wish.wait()
            wish.clear()
            self._notify(*reloading())
            await self._once()
            self._notify("READY=1", f"STATUS={self._status()}")

    async def _once(self) -> None:
        old = self.config
        try:
            with building():
                config = await asyncio.to_thread(self._load)
                await self._apply(config)
        except ConfigError as error:
            for mistake in error.mistakes:
                _refused(" ".join(mistake.show(error.file).split()))
            return
        except ReloadRefused as error:
            _refused(str(error))
            return
        self.config = config
        log_warnings(config)
        await asyncio.to_thread(_log_changes, old, config, self._started)  # compares every host
        set_up(level=config.log.level, format=config.log.format)
        _log.info("reloaded", extra={"hosts": len(config.served)})


def log_warnings(config: Config) -> None:
    """Tell what may be right and is worth a look."""
    for warning in config.warnings:
        _log.warning("look at the configuration", extra={"at": warning})


def _refused(mistake: str) -> None:
    _log.error("reload refused, nothing changed", extra={"mistake": mistake})


def _log_changes(old: Config, new: Config, started: Config) -> None:
    before, after = old.served, new.served
    for host in sorted(after.keys() - before.keys(), key=str):
        _log.info("host added", extra={"host": host})
    for host in sorted(before.keys() - after.keys(), key=str):
        _log.info("host removed; its certificate stays in the cache", extra={"host": host})
    for host in sorted(after.keys() & before.keys(), key=str):
        if after[host] != before[host]:
            _log.info("host changed", extra={"host": host})
    for key in AT_RESTART:
        if getattr(new, key) != getattr(started, key):
            _log.warning("this change takes effect at the next restart", extra={"key": key})
