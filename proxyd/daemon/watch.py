"""`watch: true`: a reload when a file of the configuration is another than the one that was read.

By a look once a second: it sees files that are written in place, renamed over or reached by a symbolic link that
was turned, on every file system; a directory that is watched by the kernel would have to be found again after each.
"""

import asyncio
import logging

from proxyd.core.file_watch import FileWatch
from proxyd.daemon.reload import Reload

_log = logging.getLogger("proxyd.daemon")
_LOOK_SECONDS = 1.0


class Watch:
    """Has `reload` read the files again, while the configuration in force says so."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload
        self._files = FileWatch()

    async def run(self) -> None:
        """Look for ever. Ends only by cancellation."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            origin = self._reload.origin
            if not self._reload.config.watch or origin.file is None:
                continue
            now = await asyncio.to_thread(origin.now)
            # One that was read meanwhile is compared at the next look.
            if origin is self._reload.origin and self._files.has_changed(now, origin.stamps, main=str(origin.file)):
                _log.info("the configuration was changed: it is read again", extra={"file": origin.file})
                self._reload.want()
