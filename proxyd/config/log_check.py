"""What is written about the log and will hardly work; all is served all the same."""

import contextlib
from collections.abc import Iterator

from proxyd.config.document import Location
from proxyd.config.model import LogOptions

_FILE: Location = ("log", "access", "file")


def log_findings(log: LogOptions) -> Iterator[tuple[Location, str]]:
    """Yield what this machine lacks for the file of the access log."""
    path = log.access.file if log.access is not None else None
    if path is None:
        return
    if not path.is_absolute():
        yield (
            _FILE,
            f"is looked for where the daemon is started: write the whole path, like /var/log/proxyd/{path.name}",
        )
        return
    with contextlib.suppress(OSError):  # not for us to look at
        if path.is_dir():
            yield _FILE, f"is a directory: name a file in it, like {path}/access.log"
        elif not path.parent.is_dir():
            yield (
                _FILE,
                f"there is no directory {path.parent}: make it for the user of the daemon, or no request is logged",
            )
