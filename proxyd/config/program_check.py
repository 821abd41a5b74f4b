"""Programs and places that the file names and this machine lacks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from proxyd.config.alert import AlertOptions
from proxyd.config.document import Location
from proxyd.config.host import HostOptions
from proxyd.config.program import program_trouble


class ProgramCheck:
    """Looks at one host after the other; what hosts have in common is said once."""

    def __init__(self, defaults: HostOptions, *, cache: Path) -> None:
        self._defaults = defaults
        self._cache = cache
        self._seen: dict[tuple[str, ...], str | None] = {}
        self._said: set[Location] = set()

    def alerts(self, alerts: Sequence[AlertOptions]) -> Iterator[tuple[Location, str]]:
        """Yield which alerts name a program that cannot be started."""
        for index, one in enumerate(alerts):
            if one.exec is not None and (trouble := self._trouble(one.exec)):
                yield ("alerts", index, "exec"), trouble

    def hooks(self, place: Location, options: HostOptions) -> Iterator[tuple[Location, str]]:
        """Yield what is wrong with a host's `on_renew` and `export`."""
        hook, copies = options.on_renew, options.export
        if hook is not None and (trouble := self._trouble(hook.run)):
            yield from self._once(place, "on_renew", hook == self._defaults.on_renew, trouble)
        if copies is not None and (copies.dir == self._cache or self._cache in copies.dir.parents):
            trouble = f"{copies.dir} is in the cache, where only certificates may be: choose another directory"
            yield from self._once(place, "export", copies == self._defaults.export, trouble)

    def _once(self, place: Location, key: str, is_default: bool, trouble: str) -> Iterator[tuple[Location, str]]:
        location = (*(("defaults",) if is_default else place), key)
        if location not in self._said:
            self._said.add(location)
            yield location, trouble

    def _trouble(self, command: tuple[str, ...]) -> str | None:
        if command not in self._seen:
            self._seen[command] = program_trouble(command)
        return self._seen[command]
