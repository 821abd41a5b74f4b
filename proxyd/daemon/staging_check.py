"""`proxyd check --staging`: certificates from the CAs' test servers, got as the daemon would get the real ones."""

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from proxyd.admin.control_client import CommandRefused, Unreachable, ask
from proxyd.config.acme import SERVERS, AcmeOptions
from proxyd.config.host import HostOptions
from proxyd.config.model import Config
from proxyd.config.option import overlay
from proxyd.core.clock import MachineClock
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname
from proxyd.daemon.daemon import Daemon

Document = Mapping[str, Any]
_STAGING = {"letsencrypt": "letsencrypt-staging", "google": "google-staging"}
#: More prove no more, and the staging servers have limits too.
_MOST_HOSTS = 20
_LOOK_SECONDS = 0.5
_NO_PROOF = "the internal CA certifies it, and asks for no proof"
_MOST_SECONDS = 1200.0  # an order may take ten minutes, and a second challenge type follows


class StagingCheck:
    """Runs a daemon of its own on the ports of the configuration, with a cache that is thrown away.

    A CA of the user's own has no test server: it is asked itself. `tell` gets each line.
    """

    def __init__(self, config: Config, *, tell: Callable[[str], None], clock: MachineClock) -> None:
        self._config = config
        self._tell = tell
        self._clock = clock

    async def run(self) -> dict[str, Any]:
        """Return for each name whether it was proved. Raises what the start of a daemon raises, in a group."""
        with TemporaryDirectory(prefix="proxyd-staging-") as directory:
            config, left_out = self._staged(Path(directory))
            results: dict[str, Any] = {
                name: {"proved": True if why == _NO_PROOF else None, "why": why} for name, why in left_out.items()
            }
            for name, why in left_out.items():
                self._tell(f"{name}: {why}" if why == _NO_PROOF else f"{name}: not proved: {why}")
            if config.hosts:
                daemon = Daemon(config, load=lambda: config, clock=self._clock, rng=random.Random())
                async with asyncio.TaskGroup() as group:
                    serving = group.create_task(daemon.run())
                    results |= await self._watched(config, serving)
                    serving.cancel()
        return {"hosts": results, "proved": all(one["proved"] for one in results.values())}

    def _staged(self, directory: Path) -> tuple[Config, dict[str, str]]:
        """Return what to run, and which names it leaves out, and why."""
        chosen: dict[Hostname | HostPattern, HostOptions] = {}
        left_out: dict[str, str] = {}
        for host, options in self._config.hosts.items():
            acme = self._config.acme if options.acme is None else overlay(self._config.acme, options.acme)
            if options.tls.cert is not None:
                self._tell(f"{host}: nothing to prove: its certificate is one of your own")
            elif isinstance(host, HostPattern):
                left_out[host.text] = "its names get their certificates when a client asks for them"
            elif self._config.acme_of(host).is_internal:
                left_out[host.text] = _NO_PROOF
            elif (staged := _at_staging(acme)) is None:
                left_out[host.text] = f"{acme.server} has no staging server"
            elif len(chosen) == _MOST_HOSTS:
                left_out[host.text] = f"only the first {_MOST_HOSTS} hosts are"
            else:
                # Nobody else may get a certificate of a test server, or hear of it.
                chosen[host] = options.model_copy(update={"acme": staged, "export": None, "on_renew": None})
        admin = self._config.admin.model_copy(update={"socket": directory / "control.sock", "listen": ()})
        log = self._config.log.model_copy(update={"access": None})  # its file would be whose command this is
        changed = {"hosts": chosen, "cache": directory / "cache", "admin": admin, "log": log, "alerts": ()}
        kept = {key: getattr(self._config, key) for key in Config.model_fields}
        return Config.model_construct(**kept | changed), left_out  # a copy would keep what was computed from the hosts

    async def _watched(self, config: Config, serving: "asyncio.Task[None]") -> dict[str, Any]:
        """Wait until every name has a certificate, or failed by every challenge type."""
        results: dict[str, Any] = {}
        names = [name.text for name in config.names]
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                while len(results) < len(names):
                    if serving.done():  # TERM
                        break
                    await asyncio.sleep(_LOOK_SECONDS)
                    for name, row in (await self._asked(config, "status", [])).get("hosts", {}).items():
                        if name not in results and (ended := await self._ended(config, name, row)):
                            results[name] = ended
        except TimeoutError:
            pass
        for name in names:
            if name not in results:
                results[name] = {"proved": False, "why": "it took too long", "to_do": []}
                self._tell(f"{name}: NOT proved: it took too long")
        return results

    async def _ended(self, config: Config, name: str, row: Document) -> dict[str, Any] | None:
        if row["state"] == "ready":
            self._tell(f"{name}: proved, {row['issuer']} gave a certificate")
            return {"proved": True, "why": None, "to_do": [], "issuer": row["issuer"]}
        if not row["failures"]:
            return None
        story = await self._asked(config, "explain", [name])
        told = {one["title"]: one["lines"] for one in story.get("sections", [])}
        why, to_do = " ".join(told.get("Why", [])) or str(row["last_error"]), told.get("What to do", [])
        self._tell(f"{name}: NOT proved: {why}")
        for line in to_do:
            self._tell(f"  what to do: {line}")
        return {"proved": False, "why": why, "to_do": to_do, "issuer": row["issuer"]}

    async def _asked(self, config: Config, command: str, hosts: list[str]) -> Document:
        socket = config.admin.socket
        assert socket is not None, "set by _staged"
        try:
            return await asyncio.to_thread(ask, [socket], command, {"hosts": hosts})
        except (Unreachable, CommandRefused):  # not yet
            return {}


def _at_staging(acme: AcmeOptions) -> AcmeOptions | None:
    """Return the same at the CA's test server, or None when it has none."""
    server = _STAGING.get(acme.server, acme.server)
    if server in SERVERS and not server.endswith("-staging"):
        return None
    return acme.model_copy(update={"server": server, "fallback": ()})
