"""`proxyd reload`: the daemon applies its file, all of it or nothing."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from proxyd.admin.control_client import BrokenOff
from proxyd.cli.control import Control, config_option, json_option, print_json
from proxyd.cli.examples import examples
from proxyd.cli.table import printable
from proxyd.core.config_change import change_lines


@click.command(epilog=examples("proxyd reload", "proxyd reload --yes"))
@config_option
@json_option
@click.option("--yes", is_flag=True, help="Also when that drops more than 20 % (and more than five) of the hosts.")
def reload(file: Path | None, as_json: bool, yes: bool) -> None:
    """Have the daemon read its configuration file again, and say what changed.

    Exit status 0: applied; 2: refused, nothing changed; 3: no daemon answers, or it broke off in the middle.
    """
    try:
        document = Control(file).reload(may_drop=yes)
    except BrokenOff:
        _broke_off(as_json)
    if as_json:
        print_json(document)
    else:
        _show(document)
    sys.exit(0 if document["applied"] else 2)


def _show(document: Mapping[str, Any]) -> None:
    for one in document.get("warnings", ()):
        print(printable(one), file=sys.stderr)
    for one in document.get("mistakes", ()):
        words = [f"{one['file']}:{one['line']}:{one['column']}", *([one["key"]] if one["key"] else []), one["message"]]
        print(": ".join(words), file=sys.stderr)
    if document["applied"]:
        lines = [*change_lines(document)] or ["nothing changed in the options of hosts or daemon"]
        print("\n".join(map(printable, [*lines, "reloaded"])))
    else:
        reason = f": {document['refused']}" if document["refused"] else ""
        print(printable(f"refused, nothing changed{reason}"), file=sys.stderr)


def _broke_off(as_json: bool) -> NoReturn:
    reason = (
        "the daemon's process that reloads ended in the middle of it; another takes its place and reads the file "
        "again: `proxyd plan` tells what is not in force, the daemon's log why the process ended"
    )
    if as_json:
        print_json({"applied": None, "refused": reason, "mistakes": []})
    else:
        print(reason, file=sys.stderr)
    raise SystemExit(3)
