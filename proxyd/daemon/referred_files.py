"""Files that hosts refer to are read again when they change: certificates, keys, CAs, lists of users, pages.

By a look every few seconds, as for the configuration itself (`watch.py`): it sees files that are written in place,
renamed over or reached by a symbolic link that was turned, on every file system, and costs one `stat` a file.
"""

import asyncio

from proxyd.config.referred_files import states_of
from proxyd.core.file_watch import FileWatch
from proxyd.daemon.reload import Reload

_LOOK_SECONDS = 3.0
#: The pause is so many times longer than the look before it, where that is more: ten thousand files, a slow disk.
_REST = 50
#: Between two looks at what is being written: a pair must not be read when only half of it is new.
_SETTLE_SECONDS = 1.0
#: A file that changes all the time does not keep others from being read.
_MOST_LOOKS = 10
#: Until what could not be put in force is tried again, when nothing changes.
_AGAIN_SECONDS = 60.0


class ReferredFiles:
    """Has `reload` put its configuration in force again when one of them is another than the one that was read."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload
        self._watch = FileWatch()
        self._unsettled = 0

    async def run(self) -> None:
        """Look for ever. Ends only by cancellation."""
        loop, pause = asyncio.get_running_loop(), _LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            pause = await self._look()
            pause = max(pause, _REST * (loop.time() - began))

    async def _look(self) -> float:
        """Return how long to wait until the next look."""
        read = self._reload.files
        if not read:
            return _LOOK_SECONDS
        now = await asyncio.to_thread(states_of, read)
        if read is not self._reload.files:  # they were read meanwhile
            return _LOOK_SECONDS
        is_due = self._watch.has_changed(now, read, main=next(iter(read)))
        self._unsettled = self._unsettled + 1 if self._watch.is_unsettled else 0
        if not is_due and self._unsettled < _MOST_LOOKS:
            return _SETTLE_SECONDS if self._unsettled else _LOOK_SECONDS
        self._unsettled = 0
        if await self._reload.read_files_again():
            return _LOOK_SECONDS
        self._watch = FileWatch()
        return _AGAIN_SECONDS
