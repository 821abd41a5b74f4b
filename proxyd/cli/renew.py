"""`proxyd renew`: order now."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxyd.cli.config_file import refuse
from proxyd.cli.control import Control, config_option, hostnames, json_option, print_json
from proxyd.cli.examples import examples
from proxyd.cli.table import moment, printable
from proxyd.daemon.system_clock import SystemClock


@click.command(
    epilog=examples(
        "proxyd renew example.com www.example.com",
        "proxyd renew --all",
        "proxyd renew --force example.com",
    )
)
@config_option
@json_option
@click.option("--all", "everything", is_flag=True, help="Every host, spread so that the CA's budget is kept.")
@click.option("--force", is_flag=True, help="One host: past our own ceiling, never past the CA's limits.")
@click.option("--no-wait", is_flag=True, help="Return at once; `proxyd status` tells how it goes.")
@click.argument("hosts", nargs=-1)
def renew(
    file: Path | None, as_json: bool, everything: bool, force: bool, no_wait: bool, hosts: tuple[str, ...]
) -> None:
    """Order new certificates for HOSTS now, and wait for them. Ends the waits and blocks of failures before."""
    if force and (everything or len(hosts) != 1):
        refuse("--force takes one host: it spends what is kept for accidents")
    if everything == bool(hosts):
        refuse("name hosts, or give --all" if not hosts else "give either hosts or --all")
    names = [host.text for host in hostnames(hosts)]

    def progress(step: Mapping[str, Any]) -> None:
        if not as_json:
            print(printable(step["text"]), flush=True)

    arguments = {"hosts": names, "all": everything, "force": force, "wait": not no_wait}
    answer = Control(file).ask_or_exit("renew", arguments, progress=progress)
    if as_json:
        print_json(answer)
    elif everything:
        last = moment(answer["last"], SystemClock().now())
        print(f"{answer['count']} certificates: {answer['at_once']} now, the last {last}; `proxyd status` tells")
    sys.exit(0 if everything else _status(answer, no_wait))


def _status(answer: Mapping[str, Any], no_wait: bool) -> int:
    good = ("renewed", "ordering") if no_wait else ("renewed",)
    return 0 if all(one["result"] in good and not one.get("alarms") for one in answer["results"].values()) else 1
