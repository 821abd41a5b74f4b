"""A new configuration takes the place of the old one: all of it, or nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from proxyd.config.document import ConfigError
from proxyd.config.model import Config
from proxyd.config.referred_files import FileStates, changed_files, referred_files, states_of
from proxyd.core.clock import Clock
from proxyd.core.config_change import AT_RESTART, ConfigChange
from proxyd.daemon.config_fingerprint import change
from proxyd.daemon.garbage import building
from proxyd.daemon.last_reload import LastReload
from proxyd.daemon.logs import set_up
from proxyd.daemon.systemd import Notify, reloading

_log = logging.getLogger("proxyd.daemon")
#: Between two reloads that nobody waits for: who asks a hundred times a second gets one a second.
_PAUSE = 1.0
#: So many files are named in one line of the log.
_NAMED = 10


class ReloadRefused(Exception):
    """The new configuration cannot be taken over; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What a reload has changed; `warnings`: what may be right and is worth a look."""

    change: ConfigChange
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A command that waits for the outcome. `may_drop`: a person said yes to the loss of many hosts."""

    may_drop: bool
    outcome: asyncio.Future[Reloaded] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Reload:
    """Knows the configuration that is in force. `load` reads it anew, and raises ConfigError; `apply` puts it in force.

    `apply` raises ReloadRefused when nothing was changed. `last` hears how each ended.
    """

    def __init__(
        self,
        config: Config,
        *,
        load: Callable[[], Config],
        apply: Callable[[Config], Awaitable[None]],
        notify: Notify,
        status: Callable[[], str],
        last: LastReload,
        clock: Clock,
    ) -> None:
        self.config = self._started = config
        #: Of what was read last, be it in force or refused.
        self.origin = config.origin
        #: The files that hosts refer to, as they were before they were read.
        self.files: FileStates = {}
        self._turn = asyncio.Lock()
        self._load = load
        self._apply = apply
        self._notify = notify
        self._status = status
        self._last = last
        self._clock = clock
        self._wanted = asyncio.Event()
        self._wishes = 0
        self._asked: list[_Asked] = []
        self._next_at = float("-inf")
        self._told: list[str] = []

    def want(self) -> None:
        """Reload soon; however often that is wanted, once a second is enough."""
        self._wishes += 1
        self._wanted.set()

    async def ask(self, *, may_drop: bool) -> Reloaded:
        """Reload, and return what changed. Raises ConfigError or ReloadRefused: nothing did.

        `may_drop`: a person wants it, however many hosts that drops.
        """
        asked = _Asked(may_drop=may_drop)
        self._asked.append(asked)
        self._wanted.set()
        return await asked.outcome

    async def begin(self) -> None:
        """Remember how the files are that the configuration refers to: before it is put in force the first time."""
        self.files = await asyncio.to_thread(_files_of, self.config)

    async def read_files_again(self) -> bool:
        """Put the configuration in force once more, because files that it refers to changed; return whether it was."""
        async with self._turn:
            found = await asyncio.to_thread(_files_of, self.config)
            changed = changed_files(self.files, found)
            if not changed:  # a reload read them
                return True
            try:
                with building():
                    await self._apply(self.config)
            except ReloadRefused as error:
                _log.error("files that hosts refer to are not in use yet: tried again", extra={"reason": str(error)})
                return False
            except Exception:  # noqa: BLE001 - whatever it is, what served serves on
                _log.exception("files that hosts refer to could not be read again; this is a bug of proxyd")
                return False
            self.files = found
            more = {"more": len(changed) - _NAMED} if len(changed) > _NAMED else {}
            named = ", ".join(changed[:_NAMED])
            _log.info("files that hosts refer to were changed: read again", extra={"files": named, **more})
            return True

    async def run(self) -> None:
        """Reload at each wish. Ends only by cancellation."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            is_late = not self._asked and loop.time() < self._next_at
            if is_late:
                await asyncio.sleep(self._next_at - loop.time())
            self._wanted.clear()
            wishes, self._wishes = self._wishes, 0
            asked, self._asked = self._asked, []
            self._next_at = loop.time() + _PAUSE
            if wishes > 2:
                _log.warning("many reloads were asked for at once: one is done for all", extra={"asked": wishes})
            self._notify(*reloading())
            for one in asked:
                await self._answer(one)
            if not asked:
                await self._unasked(is_late=is_late)
            self._notify("READY=1", f"STATUS={self._status()}")

    async def _answer(self, asked: _Asked) -> None:
        try:
            found = await self._once(may_drop=asked.may_drop)
        except (ConfigError, ReloadRefused) as error:
            _tell_refusal(error)
            if not asked.outcome.done():
                asked.outcome.set_exception(error)
        else:
            if not asked.outcome.done():
                asked.outcome.set_result(found)

    async def _unasked(self, *, is_late: bool) -> None:
        """Reload for who reads the log only. `is_late`: one of many in a row, of which the same is not told again."""
        before, self._told = self._told, []
        try:
            await self._once(may_drop=False)
        except (ConfigError, ReloadRefused) as error:
            self._told = reasons(error)
            if not is_late or self._told != before:
                _tell_refusal(error)

    async def _once(self, *, may_drop: bool) -> Reloaded:
        try:
            found = await self._reloaded(may_drop=may_drop)
        except (ConfigError, ReloadRefused) as error:
            self._last.refused = reasons(error)[0]
            if isinstance(error, ConfigError) and error.origin.file is not None:
                self.origin = error.origin
            raise
        except Exception as error:
            _log.exception("a reload failed; this is a bug of proxyd")
            self._last.refused = f"{type(error).__name__}, see the log"
            raise ReloadRefused(f"it failed ({type(error).__name__}): see the daemon's log") from error
        self._last.refused, self._last.applied_at = "", self._clock.now().timestamp()
        return found

    async def _reloaded(self, *, may_drop: bool) -> Reloaded:
        async with self._turn:
            found, config = await self._changed(may_drop=may_drop)
        log_warnings(config)
        _log_change(found)
        set_up(level=config.log.level, format=config.log.format)
        _log.info("reloaded", extra={"hosts": len(config.served)})
        return Reloaded(change=found, warnings=config.warnings)

    async def _changed(self, *, may_drop: bool) -> tuple[ConfigChange, Config]:
        old = self.config
        with building():
            config = await asyncio.to_thread(self._load)
            self.origin = config.origin
            found = await asyncio.to_thread(change, old, config, started=self._started)
            if found.objection and not may_drop:
                raise ReloadRefused(found.objection)
            files = await asyncio.to_thread(_files_of, config)
            await self._apply(config)
        self.config, self.files = config, files
        return found, config


def _files_of(config: Config) -> FileStates:
    return states_of(referred_files(config))


def as_started(config: Config, started: Config) -> Config:
    """Return a configuration with what takes effect at a restart only as it was at the start."""
    update: dict[str, dict[str, object]] = {"": {}}
    for group, _, key in (key.rpartition(".") for key in AT_RESTART):
        update.setdefault(group, {})[key] = getattr(getattr(started, group) if group else started, key)
    groups = {name: getattr(config, name).model_copy(update=keys) for name, keys in update.items() if name}
    return config.model_copy(update={**update[""], **groups})


def reasons(error: ConfigError | ReloadRefused) -> list[str]:
    """Return why a reload was refused: each mistake of the file, on one line."""
    if isinstance(error, ReloadRefused):
        return [str(error)]
    return [" ".join(mistake.show(error.file).split()) for mistake in error.mistakes]


def _tell_refusal(error: ConfigError | ReloadRefused) -> None:
    for reason in reasons(error):
        _log.error("reload refused, nothing changed", extra={"mistake": reason})


def log_warnings(config: Config) -> None:
    """Tell what may be right and is worth a look."""
    for warning in config.warnings:
        _log.warning("look at the configuration", extra={"at": warning})


def _log_change(found: ConfigChange) -> None:
    for host in found.added:
        _log.info("host added", extra={"host": host})
    for host in found.removed:
        _log.info("host removed; its certificate stays in the cache", extra={"host": host})
    for host, keys in found.changed.items():
        _log.info("host changed", extra={"host": host, "options": ", ".join(keys)})
    for key in found.options:
        if key not in found.restart:
            _log.info("option changed", extra={"key": key})
    for key in found.restart:
        _log.warning("this change takes effect at the next restart", extra={"key": key})
