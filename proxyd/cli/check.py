"""`proxyd check`: is the file right, does the world see the hosts here, would a CA give certificates for them?"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from uvloop import new_event_loop

from proxyd.certs.own_pair import PairCheck
from proxyd.cli.config_file import find, load_found, refuse
from proxyd.cli.control import json_option, print_json
from proxyd.cli.examples import examples
from proxyd.cli.table import printable
from proxyd.config.document import ConfigError
from proxyd.config.model import Config
from proxyd.daemon.alert_check import AlertCheck
from proxyd.daemon.logs import set_up
from proxyd.daemon.online_check import OnlineCheck
from proxyd.daemon.sandbox import sandbox_hints
from proxyd.daemon.staging_check import StagingCheck
from proxyd.daemon.system_clock import SystemClock
from proxyd.frontend.listener import ListenError
from proxyd.store.store import StoreError

Tell = Callable[[str], None]


@click.command(
    epilog=examples(
        "proxyd check -c config.yaml",
        "proxyd check --online",
        "proxyd check --staging",
        "proxyd check --json",
    )
)
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file.")
@json_option
@click.option("--online", is_flag=True, help="Look at DNS, CAA, ports 80 and 443, CA and cache too: advice only.")
@click.option("--alerts", is_flag=True, help="Send a test through each alert channel. Exit status 1: one did not work.")
@click.option(
    "--staging",
    is_flag=True,
    help="Get certificates from the CAs' staging servers, and throw them away. Answers on the ports of the daemon, "
    "which must not run. Exit status 1: some name was not proved.",
)
def check(file: Path | None, as_json: bool, online: bool, alerts: bool, staging: bool) -> None:
    """Say every mistake in the configuration file at once."""
    chosen = find(file)
    try:
        found = load_found(file, judge=PairCheck(SystemClock().now()))
    except ConfigError as error:
        _refuse(chosen, error, as_json)
    tell = _silent if as_json else _tell
    document: dict[str, Any] = {"file": str(chosen), "ok": True, "mistakes": [], "warnings": list(found.warnings)}
    for warning in found.warnings:
        _tell_person(warning)
    document["sandbox"] = sandbox_hints(found)
    count = len(found.served)
    tell(f"{chosen}: right; {count} {'host' if count == 1 else 'hosts'}")
    for hint in document["sandbox"]:
        tell(f"look at: {hint}")
    if internal := [one.text for one in found.served if found.acme_of(one).is_internal]:
        names = f"{', '.join(internal[:5])}{', …' if internal[5:] else ''}"
        tell(f"{names}: certified by the internal CA: clients have to trust its root (`proxyd trust`)")
    document["internal"] = internal
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if online:
            looks = OnlineCheck(found, tell=tell, waiting=_tell_person, clock=SystemClock())
            runner.run(looks.run())
            document["online"] = looks.document
        if alerts:
            sent = AlertCheck(found.alerts, tell=tell, clock=SystemClock())
            document["ok"] = runner.run(sent.run())
            document["alerts"] = sent.document
        if staging:
            set_up(level="error", format="console")
            document["staging"] = _proved(runner, found, tell)
            document["ok"] = document["ok"] and document["staging"]["proved"]
    if as_json:
        print_json(document)
    sys.exit(0 if document["ok"] else 1)


def _refuse(file: Path, error: ConfigError, as_json: bool) -> NoReturn:
    if not as_json:
        refuse(str(error))
    print_json({"ok": False, "warnings": [], **error.to_document(), "file": str(file)})
    sys.exit(2)


def _proved(runner: asyncio.Runner, config: Config, tell: Tell) -> dict[str, Any]:
    troubles: list[str] = []
    try:
        return runner.run(StagingCheck(config, tell=tell, clock=SystemClock()).run())
    except* (StoreError, ListenError) as group:
        troubles += _reasons(group)
    _tell_person(f"the proof could not begin: {'; '.join(troubles)}")
    return {"hosts": {}, "proved": False, "trouble": "; ".join(troubles)}


def _reasons(group: BaseExceptionGroup[BaseException]) -> list[str]:
    found = []
    for error in group.exceptions:
        found += _reasons(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return found


def _tell(line: str) -> None:
    print(printable(line), flush=True)


def _silent(_line: str) -> None: ...


def _tell_person(line: str) -> None:
    """Say it beside the output: a script reads that."""
    print(printable(line), file=sys.stderr, flush=True)
