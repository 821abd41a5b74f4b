"""The names half of the daemon: looks at DNS, CAA and port 80 of the hosts as the world sees them."""

import asyncio
import contextlib
import logging
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from proxyd.config.model import Config
from proxyd.core.clock import Clock
from proxyd.core.hostname import Hostname
from proxyd.core.lineage import Lineage
from proxyd.daemon.authorities import Authorities
from proxyd.issuance.memory import Memory
from proxyd.issuance.name_look import NameLook, Vantage
from proxyd.issuance.name_watcher import NameWatcher
from proxyd.issuance.preflight import Preflight
from proxyd.issuance.renewer import Renewer
from proxyd.issuance.resolver import Resolver
from proxyd.issuance.self_check import SelfCheck
from proxyd.issuance.validated_addresses import ValidatedAddresses
from proxyd.proxy.traffic import Traffic

_log = logging.getLogger("proxyd.names")
_KEY_FILE = "self-check.key"
_KEY_LENGTH = 32


class Names:
    """Wires resolver, self check, preflight and watching."""

    def __init__(
        self,
        *,
        renewer: Renewer,
        memory: Memory,
        authorities: Authorities,
        traffic: Traffic,
        clock: Clock,
    ) -> None:
        self.self_check = SelfCheck(clock=clock)
        self._config: Config | None = None
        self._resolver = Resolver(clock=clock)
        look = NameLook(self._resolver, self.self_check)
        self._validated = ValidatedAddresses(resolver=self._resolver, memory=memory, clock=clock)
        self.preflight = Preflight(
            look=look,
            renewer=renewer,
            memory=memory,
            vantage=self._vantage,
            identities=lambda lineage: authorities.caa_identities(lineage.host),
            may_hold=self._may_hold,
            clock=clock,
        )
        self._watcher = NameWatcher(
            look=look,
            renewer=renewer,
            memory=memory,
            preflight=self.preflight,
            validated=self._validated,
            vantage=self._vantage,
            last_request=traffic.last,
            clock=clock,
        )

    def open(self, directory: Path) -> None:
        """Take the key that all processes of one cache share. Blocks."""
        self.self_check.key = self_check_key(directory) or self.self_check.key

    def use(self, config: Config) -> None:
        """Look as `config` says from now on."""
        self._config = config
        self._resolver.servers = config.resolvers

    def begin(self, lineages: Iterable[Lineage]) -> None:
        """Look at the names of those that never had a certificate before they are ordered."""
        self.preflight.begin(one for one in lineages if not self._is_internal(one))

    def confirmed(self, lineage: Lineage) -> None:
        """Hear that the CA has just validated the names."""
        if not self._is_internal(lineage):
            self._validated.note(lineage)

    def clock_righted(self) -> None:
        """Forget what a wrong clock has dated."""
        self._watcher.clock_righted()

    async def run(self) -> None:
        """Look, for ever. Ends only by cancellation."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.preflight.run())
            group.create_task(self._watcher.run())
            group.create_task(self._validated.run())

    def _is_internal(self, lineage: Lineage) -> bool:
        """Nobody looks at the names of the internal CA, neither it nor we."""
        return self._config is not None and self._config.acme_of(lineage.host).is_internal

    def _vantage(self, lineage: Lineage) -> Vantage:
        """A public CA comes to port 80 and nowhere else; to one's own CA our port may be open as it is."""
        config = self._config
        return Vantage() if config is None else vantage(config, lineage.host)

    def _may_hold(self, lineage: Lineage) -> bool:
        """One's own CA may see another DNS than the system's; where `resolvers` are given they are the DNS."""
        config = self._config
        return config is not None and (bool(config.resolvers) or self._vantage(lineage).is_public)


def vantage(config: Config, host: Hostname) -> Vantage:
    """Return how the CA of a host looks at it."""
    is_public = not config.acme_of(host).is_private
    if not config.listen.http:
        return Vantage(port=None, is_public=is_public)
    return Vantage(port=80 if is_public else config.listen.http[0].port, is_public=is_public)


def self_check_key(directory: Path, *, make: bool = True) -> bytes | None:
    """Return the key with which all processes of one cache answer each other's nonces; make it when missing. Blocks.

    Without a disk that keeps it, it is one of our own; with `make` false, None.
    """
    path = directory / _KEY_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            key = os.read(descriptor, _KEY_LENGTH + 1)
            if make and stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                os.fchmod(descriptor, 0o600)
                _log.warning("the self check's key could be read by others: its mode is 0600 now", extra={"file": path})
        finally:
            os.close(descriptor)
        if len(key) == _KEY_LENGTH and any(key):  # zeros are what a crash leaves
            return key
    except OSError:
        pass
    if not make:
        return None
    key = secrets.token_bytes(_KEY_LENGTH)
    temporary = path.with_name(f"{_KEY_FILE}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(key)
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name(f"{_KEY_FILE}.broken-{secrets.token_hex(4)}"))
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        _log.debug("the self check's key is not kept", extra={"file": path, "reason": str(error)})
    return key
