"""How the commands reach the daemon, and what they need of the configuration for it."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import click

from proxyd.admin.control_address import candidates, last_resorts
from proxyd.admin.control_client import BrokenOff, CommandRefused, Document, Unreachable, ask
from proxyd.cli.config_file import PLACES, find, load_found, refuse
from proxyd.config.daemon_place import DaemonPlace
from proxyd.config.document import ConfigError
from proxyd.config.model import Config
from proxyd.core.host_pattern import host_or_pattern
from proxyd.core.hostname import Hostname, InvalidHostname

config_option = click.option(
    "-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file of the daemon."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


@dataclass(frozen=True)
class Control:
    """The daemon of one configuration file. It runs on while the file has mistakes, and is found all the same."""

    file: Path | None

    @cached_property
    def config(self) -> Config:
        """Return the configuration; exits with 2 when the file is wrong."""
        if isinstance(self._read, ConfigError):
            refuse(str(self._read))
        return self._read

    @property
    def has_file(self) -> bool:
        """Return whether a file is chosen or lies at a usual place: without, only a daemon that answers tells."""
        return self.file is not None or find(None).is_file()

    @cached_property
    def _read(self) -> Config | ConfigError:
        try:
            return load_found(self.file, reads_bundles=False)
        except ConfigError as error:
            return error

    def ask(
        self, command: str, arguments: Mapping[str, Any], *, progress: Callable[[Document], None] = lambda _: None
    ) -> Document:
        """Return the daemon's answer. Raises Unreachable, BrokenOff; exits when the daemon refuses.

        Exits with 3, too, when none answers and there is no file to look at instead; with 2 when that has mistakes,
        which are said in any case.
        """
        chosen, cache = self._place()
        mistakes = self._read if self.has_file and isinstance(self._read, ConfigError) else None
        if mistakes:
            print(mistakes, file=sys.stderr)
        try:
            return _ask(_places(chosen, cache), command, arguments, cache=cache, progress=progress)
        except Unreachable as error:
            if mistakes and not error.is_denied:
                refuse(str(error))
            if self.has_file:
                raise
            unreachable(error, more=f"; there is no configuration file either, {PLACES}: name yours with -c")

    def reload(self, *, may_drop: bool) -> Document:
        """Have the daemon of this file read it. Raises BrokenOff; exits with 3 when none answers.

        The daemon says what is wrong with the file, and is known by it: the cache may be what was changed.
        """
        file = str(find(self.file).absolute()) if self.has_file else None
        try:
            return _ask(_places(*self._place()), "reload", {"yes": may_drop, "file": file})
        except BrokenOff:
            raise
        except Unreachable as error:
            if self.has_file and isinstance(self._read, ConfigError):
                print(self._read, file=sys.stderr)
            unreachable(error, more="; when `cache` or `admin.socket` was changed in the file, restart it instead")

    def ask_or_exit(
        self, command: str, arguments: Mapping[str, Any], *, progress: Callable[[Document], None] = lambda _: None
    ) -> Document:
        """Return the daemon's answer, or exit with 3 when none answers."""
        try:
            return self.ask(command, arguments, progress=progress)
        except Unreachable as error:
            unreachable(error)

    def _place(self) -> tuple[Path | None, Path | None]:
        """Return the socket that the file names, and the cache that the daemon must keep; None where it names none."""
        file = find(self.file)
        if not self.has_file:  # as `proxyd run HOST=UPSTREAM` was started
            return None, None
        if isinstance(self._read, ConfigError):
            if self.file is not None and not file.is_file():
                refuse(str(self._read))
            place = DaemonPlace.read(file)
            return place.socket, place.cache
        return self._read.admin.socket, self._read.cache_directory


def _places(chosen: Path | None, cache: Path | None) -> list[Path]:
    return [*candidates(chosen, cache or Config.model_construct().cache_directory), *last_resorts(chosen)]


def _ask(
    places: list[Path],
    command: str,
    arguments: Mapping[str, Any],
    *,
    cache: Path | None = None,
    progress: Callable[[Document], None] = lambda _: None,
) -> Document:
    try:
        return ask(places, command, arguments, cache=cache, progress=progress)
    except CommandRefused as refused:
        print(refused, file=sys.stderr)
        raise SystemExit(refused.status) from None


def unreachable(error: Unreachable, *, more: str = "") -> NoReturn:
    """Say that no daemon answers and exit with 3."""
    hint = (
        "run this as root or as the daemon's user" if error.is_denied else "is it running? (`systemctl status proxyd`)"
    )
    print(f"{error}; {hint}{more}", file=sys.stderr)
    raise SystemExit(3)


def hostnames(written: tuple[str, ...], *, patterns: bool = False) -> list[Hostname]:
    """Return the names that a person typed, with `patterns` also wildcard hosts, or exit with 2."""
    try:
        names = [host_or_pattern(one) for one in written]
    except InvalidHostname as error:
        refuse(str(error))
    if not patterns and (pattern := next((one for one in names if "*" in one.text), None)):
        refuse(f"{pattern} has no certificate of its own: name one of the names under it")
    return names


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document for scripts."""
    print(json.dumps(document, indent=2, ensure_ascii=True))
