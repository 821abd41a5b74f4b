"""`proxyd check`: is the file right, and does the world see the hosts here?"""

import asyncio
import sys
from pathlib import Path

import click
from uvloop import new_event_loop

from proxyd.cli.config_file import find, load_or_exit
from proxyd.daemon.online_check import OnlineCheck
from proxyd.daemon.system_clock import SystemClock


@click.command()
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--online", is_flag=True, help="Look at DNS, CAA, ports 80 and 443, CA and cache too: advice only.")
def check(file: Path | None, online: bool) -> None:
    """Say every mistake in the configuration file at once."""
    chosen = find(file)
    found = load_or_exit(chosen)
    for warning in found.warnings:
        print(warning, file=sys.stderr)
    count = len(found.served)
    print(f"{chosen}: right; {count} {'host' if count == 1 else 'hosts'}")
    if online:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(OnlineCheck(found, tell=lambda line: print(line, flush=True), clock=SystemClock()).run())
