"""`proxyd account`: the ACME account of each CA."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from proxyd.cli.control import Control, config_option, json_option, print_json
from proxyd.cli.examples import examples
from proxyd.cli.table import bold, printable

_ROWS = (
    ("status", "status"),
    ("account", "url"),
    ("contact", "contact"),
    ("orders", "orders"),
    ("key", "key_kind"),
    ("key thumbprint", "thumbprint"),
    ("error", "error"),
)


@click.command(epilog=examples("proxyd account", "proxyd account show --json", "proxyd account rotate-key"))
@config_option
@json_option
@click.option("--server", help="Only this CA, as acme.server names it.")
@click.argument("action", type=click.Choice(["show", "rotate-key"]), default="show")
def account(file: Path | None, as_json: bool, server: str | None, action: str) -> None:
    """Show what each CA knows of our ACME account (makes none), or replace the account's key.

    Other programs on the same cache read the new key there.
    """
    if action == "show":
        _show_all(Control(file), server, as_json)
    else:
        _rotate(Control(file), server, as_json)


def _show_all(control: Control, server: str | None, as_json: bool) -> NoReturn:
    answer = control.ask_or_exit("account", {"server": server}, progress=_waiting)
    if as_json:
        print_json(answer)
    else:
        for name, one in answer["accounts"].items():
            _show(name, one)
    sys.exit(1 if any("error" in one for one in answer["accounts"].values()) else 0)


def _rotate(control: Control, server: str | None, as_json: bool) -> NoReturn:
    def progress(step: Mapping[str, Any]) -> None:
        _waiting(step)
        if not as_json and "text" in step:
            print(printable(step["text"]), flush=True)

    answer = control.ask_or_exit("rotate-key", {"server": server}, progress=progress)
    if as_json:
        print_json(answer)
    sys.exit(0 if all(one["rotated"] for one in answer["accounts"].values()) else 1)


def _waiting(step: Mapping[str, Any]) -> None:
    if "waiting" in step:
        print(printable(step["waiting"]), file=sys.stderr, flush=True)


def _show(name: str, one: Mapping[str, Any]) -> None:
    print(bold(name))
    if one.get("status") == "none":
        print("  no account yet: the first order makes one")
        return
    for title, key in _ROWS:
        value = one.get(key)
        text = ", ".join(value) if isinstance(value, list) else value
        if text:
            print(f"  {title}: {printable(str(text))}")
