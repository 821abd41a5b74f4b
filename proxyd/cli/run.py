"""`proxyd run`: the daemon, in the foreground."""

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click
from uvloop import new_event_loop

from proxyd.cli.config_file import find, load_or_exit, refuse
from proxyd.cli.examples import examples
from proxyd.config.document import ConfigError
from proxyd.config.load import from_pairs, load
from proxyd.config.model import Config
from proxyd.daemon import descriptors, privileges
from proxyd.daemon.daemon import Daemon
from proxyd.daemon.log_output import set_up_stderr
from proxyd.daemon.logs import set_up, tell_why
from proxyd.daemon.supervisor import Supervisor
from proxyd.daemon.system_clock import SystemClock
from proxyd.frontend.listener import ListenError
from proxyd.store.store import StoreError

#: How long a thread may keep the interpreter from the event loop, which asks for it several times in each request.
_SWITCH_SECONDS = 0.0001
#: With `auto`.
_MOST_WORKERS = 8


@click.command(
    epilog=examples(
        "proxyd run",
        "proxyd run -c config.yaml",
        "proxyd run example.com=8080 www.example.com=8080",
    )
)
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file.")
@click.argument("pairs", metavar="[HOST=UPSTREAM]...", nargs=-1)
def run(file: Path | None, pairs: tuple[str, ...]) -> None:
    """Serve the hosts of the configuration file, or those given as HOST=UPSTREAM. HUP reloads, TERM stops."""
    if pairs and file:
        refuse("give either a file or HOST=UPSTREAM, not both")
    privileges.give_up_memory_images()  # before anything secret is read
    privileges.give_up_rights(privileges.OF_DAEMON)
    reload, config = _from_pairs(pairs) if pairs else _from_file(file)
    sys.setswitchinterval(_SWITCH_SECONDS)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until there is a log to open anew
    set_up_stderr()
    set_up(level=config.log.level, format=config.log.format)
    if reason := descriptors.objection():
        logging.getLogger("proxyd").error("cannot start", extra={"reason": reason})
        sys.exit(2)
    workers = _workers(config)
    status = _alone(config, reload) if workers == 1 else _several(config, reload, workers)
    sys.exit(status)


def _workers(config: Config) -> int:
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS) if config.workers == "auto" else config.workers


def _several(config: Config, reload: Callable[[], Config], workers: int) -> int:
    try:
        return Supervisor(config, load=reload, workers=workers).run()
    except ListenError as error:
        logging.getLogger("proxyd").error("cannot start", extra={"reason": str(error)})
        return 2


def _alone(config: Config, reload: Callable[[], Config]) -> int:
    daemon = Daemon(config, load=reload, clock=SystemClock(), rng=random.Random())
    status = 0
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(daemon.run())
        except* (StoreError, ListenError) as group:
            tell_why(group)
            status = 2  # leaving from inside except* would wrap SystemExit in a group
    return status


def _from_file(chosen: Path | None) -> tuple[Callable[[], Config], Config]:
    file = find(chosen)
    return lambda: load(file, serves=True), load_or_exit(chosen)


def _from_pairs(pairs: tuple[str, ...]) -> tuple[Callable[[], Config], Config]:
    for pair in pairs:
        if "=" not in pair:
            refuse(f"{pair!r} is not HOST=UPSTREAM, like example.com=8080")
    try:
        config = from_pairs([(host, upstream) for host, _, upstream in (pair.partition("=") for pair in pairs)])
    except ConfigError as error:
        refuse(str(error))
    return lambda: config, config
