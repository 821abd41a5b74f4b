"""Files of users that hosts name and that cannot be used, or are open to others."""

import stat
from collections.abc import Iterator
from pathlib import Path

from proxyd.config.document import Location
from proxyd.config.host import HostOptions
from proxyd.config.user_file import read_users
from proxyd.core.user_list import UserListError


class GuardCheck:
    """Looks at one host after the other; what hosts have in common is said once."""

    def __init__(self, defaults: HostOptions) -> None:
        self._defaults = defaults
        self._seen: dict[Path, str | None] = {}
        self._said: set[Location] = set()

    def broken(self, place: Location, options: HostOptions) -> Iterator[tuple[Location, str]]:
        """Yield why a host's users cannot be known."""
        if (basic := options.basic_auth) is None:
            return
        if basic.users not in self._seen:
            self._seen[basic.users] = _trouble(basic.users)
        if (trouble := self._seen[basic.users]) is not None:
            yield from self._once(place, options, trouble)

    def open_to_others(self, place: Location, options: HostOptions) -> Iterator[tuple[Location, str]]:
        """Yield that everybody on this machine can read the hashes, which is all it takes to guess passwords."""
        basic = options.basic_auth
        if basic is not None and self._seen.get(basic.users) is None and _is_open(basic.users):
            message = f"everybody on this machine can read the hashes in {basic.users}: chmod 640 {basic.users}"
            yield from self._once(place, options, message)

    def _once(self, place: Location, options: HostOptions, message: str) -> Iterator[tuple[Location, str]]:
        is_default = options.basic_auth == self._defaults.basic_auth
        location = (*(("defaults",) if is_default else place), "basic_auth", "users")
        if location not in self._said:
            self._said.add(location)
            yield location, message


def _trouble(file: Path) -> str | None:
    try:
        users = read_users(file)
    except UserListError as error:
        return f"{file}: {error}"
    return (
        None
        if users.hashes
        else f"{file} has no user in it, and nobody could come in: `proxyd password NAME` makes a line"
    )


def _is_open(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
