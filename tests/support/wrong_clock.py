"""A machine whose clock a test sets: an offset in seconds, read from a file beside the daemon's configuration.

`python -m tests.support.wrong_clock FILE` is `proxyd run -c FILE` on such a machine.
"""

import asyncio
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

from uvloop import new_event_loop

from proxyd.config.load import load
from proxyd.daemon.daemon import Daemon
from proxyd.daemon.logs import set_up
from proxyd.daemon.system_clock import SystemClock
from tests.support.daemon import DaemonProcess


class WrongClock(SystemClock):
    """Implements MachineClock."""

    def __init__(self, offset: Path) -> None:
        self._offset = offset

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._offset.read_text()))


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
    config = load(file)
    set_up(level=config.log.level, format=config.log.format)
    clock = WrongClock(file.with_name("offset"))
    daemon = Daemon(config, load=lambda: load(file), clock=clock, rng=random.Random())
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(daemon.run())


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
