"""`proxyd revoke`: replaces, then revokes."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxyd.cli.config_file import refuse
from proxyd.cli.control import Control, config_option, hostnames, json_option, print_json
from proxyd.cli.examples import examples
from proxyd.cli.table import printable
from proxyd.core.revocation_reason import REASONS, parse_reason


@click.command(
    epilog=examples(
        "proxyd revoke example.com --reason superseded",
        "proxyd revoke example.com --reason keyCompromise --now",
    )
)
@config_option
@json_option
@click.option("--reason", required=True, help=f"Why: {', '.join(REASONS)}, or their numbers (RFC 5280).")
@click.option("--now", is_flag=True, help="Revoke at once: who checks may refuse HOST until the new one is there.")
@click.argument("host")
def revoke(file: Path | None, as_json: bool, reason: str, now: bool, host: str) -> None:
    """Get a new certificate for HOST, then revoke the one that served; it never serves again."""
    try:
        code = parse_reason(reason)
    except ValueError as error:
        refuse(f"--reason: {error}")
    (wanted,) = hostnames((host,))

    def progress(step: Mapping[str, Any]) -> None:
        if not as_json:
            print(printable(step["text"]), flush=True)

    arguments = {"hosts": [wanted.text], "reason": code, "now": now}
    answer = Control(file).ask_or_exit("revoke", arguments, progress=progress)
    if as_json:
        print_json(answer)
    elif not answer["replaced"] and not now and answer.get("configured", True):
        print(
            f"There is no new certificate, so what serves was not revoked. When its key is stolen, do not wait: "
            f"`proxyd revoke {wanted} --reason {reason} --now` revokes all the same; clients that check may then "
            "refuse the site until a new certificate comes.",
            file=sys.stderr,
        )
    sys.exit(0 if answer["complete"] else 1)
