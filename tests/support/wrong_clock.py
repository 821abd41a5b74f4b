"""A machine whose clock a test sets: an offset in seconds, read from a file beside the daemon's configuration.

`python -m tests.support.wrong_clock FILE` is `proxyd run -c FILE` on such a machine.
"""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from proxyd.__main__ import main
from proxyd.daemon.system_clock import SystemClock
from tests.support.daemon import DaemonProcess


def put_on_wrong_machine(daemon: DaemonProcess, offset: timedelta) -> None:
    """Start it on such a machine from now on."""
    daemon.run = ("-m", "tests.support.wrong_clock")
    set_clock(daemon, offset)


def set_clock(daemon: DaemonProcess, offset: timedelta) -> None:
    """Set the machine's clock that far ahead of the true time."""
    new = daemon.directory / "offset.new"
    new.write_text(str(offset.total_seconds()))
    new.replace(daemon.directory / "offset")


def _main(file: Path) -> None:
    offset, true = file.with_name("offset"), SystemClock.now

    def now(clock: SystemClock) -> datetime:
        return true(clock) + timedelta(seconds=float(offset.read_text()))

    setattr(SystemClock, "now", now)  # noqa: B010 - every process of the daemon has this class
    sys.argv[1:] = ["run", "-c", str(file)]
    main()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
