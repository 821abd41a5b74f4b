"""Files of `basic_auth.users` that cannot be used: a person has to mend them, and hears of it before users do."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from proxyd.config.model import Config
from proxyd.config.user_file import users_trouble
from proxyd.core.alarm import Alarm
from proxyd.core.trouble import TroubleKind

_TO_DO: Final = (
    "Mend the file; it is read again within seconds. Until then who was in it before comes in; where it never was "
    "right nobody does, and its hosts answer 503."
)


class UserFiles:
    """Knows what is wrong with those of one configuration. Who serves reads them too, and logs it."""

    def __init__(self) -> None:
        self._troubles: list[str] = []

    @property
    def alarm(self) -> Alarm | None:
        """Return what is wrong with them, or None."""
        if not self._troubles:
            return None
        first, *others = self._troubles
        more = f"; and {len(others)} more of such files" if others else ""
        reason = f"a file of basic_auth.users cannot be used: {first}{more}"
        return Alarm(reason=reason, to_do=_TO_DO, kind=TroubleKind.USER_FILE)

    async def look(self, config: Config) -> None:
        """Look at the files of a configuration that comes into force, or whose files have changed."""
        files = {one.basic_auth.users for one in config.hosts.values() if one.basic_auth is not None}
        self._troubles = await asyncio.to_thread(_troubles, sorted(files))


def _troubles(files: Iterable[Path]) -> list[str]:
    return [trouble for file in files if (trouble := users_trouble(file)) is not None]
