"""Hands new certificates over to other programs: copies of them (`export`), then a word (`on_renew`)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from proxyd.admin.program import run_program
from proxyd.certs.certificate import Certificate
from proxyd.config.host import Export, HookOptions, HostOptions
from proxyd.config.model import Config
from proxyd.core.alarm import Alarm
from proxyd.core.certificate_state import Ordering
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.core.status import rfc3339
from proxyd.core.trouble import TroubleKind
from proxyd.daemon.certificates import Certificates
from proxyd.daemon.export import ExportError, copies, export
from proxyd.store.live_file import live_file

_log = logging.getLogger("proxyd.hooks")
_AT_ONCE = 4
_LOOK_SECONDS, _SOON_SECONDS = 60.0, 0.5
#: After failures. A program that fails after all of these is not run again before the next certificate or reload.
_PAUSES = (60.0, 600.0, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What is to be handed over, and to whom."""

    leaf: bytes
    export: Export | None
    on_renew: HookOptions | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """Why a wish is not fulfilled. `attempts`: since the last reload.

    `again_at`: when it is tried again, by the monotonic clock; None: not at all.
    """

    wish: _Wish
    reason: str
    attempts: int
    again_at: float | None


class Handovers:
    """Compares what serves with what was handed over, so that nothing is missed by a restart or a kill.

    One at a time for each host. `counts`: how they ended, by `export` or `on_renew` and result.
    """

    def __init__(self, *, certificates: Certificates, root: Path, clock: Clock) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._certificates = certificates
        self._root = root
        self._clock = clock
        self._config: Config | None = None
        self._changed = asyncio.Event()
        self._done: dict[Lineage, _Wish] = {}
        self._troubles: dict[Lineage, _Trouble] = {}
        self._busy: set[Hostname] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)

    def use(self, config: Config) -> None:
        """Do what this configuration wants from now on; what failed is tried again at once."""
        is_wanted = any(_asks(options) for options in config.hosts.values())
        self._config = config if is_wanted else None
        self._done.clear()  # copies are looked at again
        now = self._clock.monotonic()
        self._troubles = {
            lineage: replace(trouble, attempts=0, again_at=now)
            for lineage, trouble in self._troubles.items()
            if (options := config.table.get(lineage.host)) and _asks(options)
        }
        self._changed.set()

    def look(self) -> None:
        """Look soon: what serves may have changed."""
        if self._config is not None:
            self._changed.set()

    def alarms(self) -> Iterator[tuple[Lineage, Alarm]]:
        """Return what was not handed over."""
        for lineage, trouble in self._troubles.items():
            again = "it is tried again" if trouble.again_at is not None else "it is not tried again"
            to_do = f"Mend what the text says and reload (proxyd tries at once); {again} by itself."
            reason = f"the new certificate was not handed over to other programs: {trouble.reason}"
            yield lineage, Alarm(reason=reason, to_do=to_do, kind=TroubleKind.HOOK_FAILED)

    async def run(self) -> None:
        """Hand over for ever. Ends only by cancellation, which kills the programs that run."""
        await self._certificates.ready()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                pause = _SOON_SECONDS if self._begin(tasks) else _LOOK_SECONDS
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _begin(self, tasks: asyncio.TaskGroup) -> bool:
        """Begin what is due; return whether some of it waits until its order has ended."""
        config, fleet, waits = self._config, self._certificates.renewer.fleet, False
        if config is None:
            return False
        for lineage in fleet.lineages():
            options = config.table.get(lineage.host)
            certificate = self._certificates.serving(lineage) if options and _asks(options) else None
            if options is None or certificate is None or lineage.host in self._busy:
                continue
            wish = _Wish(leaf=certificate.leaf, export=options.export, on_renew=options.on_renew)
            if self._done.get(lineage) == wish or self._is_too_early(lineage, wish):
                continue
            if isinstance(fleet.state(lineage), Ordering):  # it may still be taken back
                waits = True
                continue
            if wish.export is None and self._was_run(lineage, certificate):
                self._done[lineage] = wish
                self._troubles.pop(lineage, None)  # of what is not asked for any more
                continue
            self._busy.add(lineage.host)
            tasks.create_task(self._guarded(lineage, certificate, wish))
        return waits

    def _is_too_early(self, lineage: Lineage, wish: _Wish) -> bool:
        trouble = self._troubles.get(lineage)
        if trouble is None or trouble.wish != wish:
            return False
        return trouble.again_at is None or self._clock.monotonic() < trouble.again_at

    async def _guarded(self, lineage: Lineage, certificate: Certificate, wish: _Wish) -> None:
        try:
            async with self._places:
                if await asyncio.to_thread(self._is_kept, lineage, certificate):
                    await self._hand_over(lineage, certificate, wish)
                # Else it is told already why it is not kept, and looked at again every minute.
        except Exception as error:  # noqa: BLE001 - one host's trouble must not stop the others
            _log.exception("a certificate could not be handed over", extra={"host": lineage.host})
            self._failed(lineage, wish, "export", f"{type(error).__name__}, see the log; this is a bug of proxyd")
        finally:
            self._busy.discard(lineage.host)
            if self._done.get(lineage) == wish and not self._certificates.is_alone(lineage):
                self._changed.set()  # the other certificate of the host may wait

    def _was_run(self, lineage: Lineage, certificate: Certificate) -> bool:
        return self._certificates.memory.document(_document(lineage)).get("serial") == f"{certificate.serial:x}"

    def _is_kept(self, lineage: Lineage, certificate: Certificate) -> bool:
        try:
            return self._file(lineage, certificate).read_bytes() == certificate.pem
        except OSError:
            return False

    async def _hand_over(self, lineage: Lineage, certificate: Certificate, wish: _Wish) -> None:
        if wish.export is not None:
            try:
                has_copied = await asyncio.to_thread(export, wish.export, self._stem(lineage), certificate)
            except ExportError as error:
                self._failed(lineage, wish, "export", str(error))
                return
            if has_copied:
                self.counts["export", "ok"] += 1
                _log.info("exported", extra={"host": lineage.host, "to": wish.export.dir})
                self._certificates.memory.note("exported", lineage.host, None, to=wish.export.dir)
                # Until the program has run with these, also after a kill: it was run with others.
                self._certificates.memory.forget_document(_document(lineage))
        if wish.on_renew is not None and not self._was_run(lineage, certificate):
            if not await self._run(lineage, certificate, wish, wish.on_renew):
                return
            self._certificates.memory.keep_document(_document(lineage), {"serial": f"{certificate.serial:x}"})
        self._done[lineage] = wish
        if self._troubles.pop(lineage, None):
            _log.warning("handed over now", extra={"host": lineage.host})

    async def _run(self, lineage: Lineage, certificate: Certificate, wish: _Wish, hook: HookOptions) -> bool:
        environment = self._environment(lineage, certificate, wish)
        began = self._clock.monotonic()
        run = await run_program(hook.run, environment=environment, seconds=hook.timeout.total_seconds())
        if run.trouble is not None:
            self._failed(lineage, wish, "on_renew", run.trouble)
            return False
        seconds = round(self._clock.monotonic() - began, 3)
        self.counts["on_renew", "ok"] += 1
        *_, last = ("", *run.output.splitlines())
        said = {"said": last[:300]} if last else {}
        _log.info("on_renew ended well", extra={"host": lineage.host, "seconds": seconds, **said})
        self._certificates.memory.note(
            "on_renew ran", lineage.host, None, program=hook.run[0], seconds=seconds, said=said.get("said")
        )
        return True

    def _failed(self, lineage: Lineage, wish: _Wish, what: str, reason: str) -> None:
        self.counts[what, "failed"] += 1
        before = self._troubles.get(lineage)
        attempts = before.attempts + 1 if before is not None and before.wish == wish else 1
        pause = _PAUSES[min(attempts, len(_PAUSES)) - 1]
        is_last = what == "on_renew" and attempts > len(_PAUSES)
        again_at = None if is_last else self._clock.monotonic() + pause
        shown = f"{what}: {reason}"
        self._troubles[lineage] = _Trouble(wish=wish, reason=shown, attempts=attempts, again_at=again_at)
        if before is None or not before.attempts or before.reason != shown:
            _log.error("the new certificate was not handed over", extra={"host": lineage.host, "reason": shown})
            self._certificates.memory.note(f"{what} failed", lineage.host, None, reason=reason)

    def _environment(self, lineage: Lineage, certificate: Certificate, wish: _Wish) -> dict[str, str]:
        kept = self._file(lineage, certificate)
        files = (
            copies(wish.export, self._stem(lineage)) if wish.export else dict.fromkeys(("fullchain", "privkey"), kept)
        )
        found = {
            "PROXYD_HOST": lineage.host.text,
            "PROXYD_NAMES": " ".join(name.text for name in lineage.names),
            "PROXYD_CERTIFICATE": str(files["fullchain"]),
            "PROXYD_KEY": str(files["privkey"]),
            "PROXYD_COMBINED": str(files.get("combined", kept)),
            "PROXYD_KEY_TYPE": certificate.key_kind,
            "PROXYD_SERIAL": f"{certificate.serial:x}",
            "PROXYD_ISSUER": certificate.issuer,
            "PROXYD_NOT_BEFORE": rfc3339(certificate.not_before) or "",
            "PROXYD_NOT_AFTER": rfc3339(certificate.not_after) or "",
        }
        return found | ({"PROXYD_EXPORT_DIR": str(wish.export.dir)} if wish.export else {})

    def _file(self, lineage: Lineage, certificate: Certificate) -> Path:
        return self._root / live_file(lineage.host, certificate.family)

    def _stem(self, lineage: Lineage) -> str:
        """Return how the copies' names begin: by the key as well where a host has two."""
        is_alone = self._certificates.is_alone(lineage)
        return lineage.host.text if is_alone else live_file(lineage.host, lineage.key_family)


def _asks(options: HostOptions) -> bool:
    return options.export is not None or options.on_renew is not None


def _document(lineage: Lineage) -> str:
    return f"handover {lineage.host} {lineage.key_kind}"
