"""What hosts say about `basic_auth` and `forward_auth` and cannot work, or is hardly meant."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from proxyd.config.document import Location
from proxyd.config.host import HostOptions
from proxyd.config.upstream_trust import UpstreamTlsError, upstream_context
from proxyd.config.user_file import users_trouble

#: Where, what, and whether the file is refused for it.
Finding = tuple[Location, str, bool]


class GuardCheck:
    """Looks at all hosts; what they have in common is said once.

    `reads_files`: whether the files that they name must be readable. `serves`: one that is broken is no mistake: its
    host answers 503, and all others are to be served.
    """

    def __init__(self, defaults: HostOptions, *, reads_files: bool, serves: bool) -> None:
        self._defaults = defaults
        self._reads_files = reads_files
        self._serves = serves
        self._seen: dict[Path, str | None] = {}
        self._said: set[Location] = set()

    def findings(self, hosts: Mapping[str, HostOptions]) -> Iterator[Finding]:
        """Yield what is wrong, or hardly meant."""
        names = {name: one for key, one in hosts.items() for name in (key, *(alias.text for alias in one.aliases))}
        for key, options in hosts.items():
            place: Location = ("hosts", key)
            yield from self._forward_auth(place, options, names)
            if self._reads_files:
                yield from self._basic_auth(place, options)

    def _basic_auth(self, place: Location, options: HostOptions) -> Iterator[Finding]:
        if (basic := options.basic_auth) is None:
            return
        file = basic.users
        if file not in self._seen:
            self._seen[file] = users_trouble(file)
        if (trouble := self._seen[file]) is not None:
            yield from self._once(place, "basic_auth", "users", options, trouble, not self._serves)
        elif _is_open(file):  # which is all it takes to guess passwords
            message = f"everybody on this machine can read the hashes in {file}: chmod 640 {file}"
            yield from self._once(place, "basic_auth", "users", options, message, False)

    def _forward_auth(
        self, place: Location, options: HostOptions, names: Mapping[str, HostOptions]
    ) -> Iterator[Finding]:
        asked, server = options.forward_auth, options.auth_server
        if asked is None or server is None:
            return
        host = asked.url.address.host
        if host in names and names[host].forward_auth == asked:
            message = f"{host} is one of these hosts and would ask itself: write forward_auth: false under it"
            yield from self._once(place, "forward_auth", "url", options, message, True)
        if self._reads_files and asked.ca is not None:
            try:
                upstream_context(server.upstream_tls)
            except UpstreamTlsError as error:
                yield from self._once(place, "forward_auth", "ca", options, str(error), not self._serves)

    def _once(
        self, place: Location, guard: str, key: str, options: HostOptions, message: str, is_mistake: bool
    ) -> Iterator[Finding]:
        is_default = getattr(options, guard) == getattr(self._defaults, guard)
        location = (*(("defaults",) if is_default else place), guard, key)
        if location not in self._said:
            self._said.add(location)
            yield location, message, is_mistake


def _is_open(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
