"""`proxyd config`: what can be configured, and what is."""

import json
import sys
from pathlib import Path

import click
import yaml

from proxyd.cli.config_file import load_found, refuse
from proxyd.cli.control import print_json
from proxyd.cli.examples import examples
from proxyd.config.document import ConfigError
from proxyd.config.example import example
from proxyd.config.schema import schema
from proxyd.config.show import shown


@click.group(epilog=examples("proxyd config example", "proxyd config schema"))
def config() -> None:
    """Show what can be configured, and what is."""


@config.command("schema", epilog=examples("proxyd config schema > proxyd.schema.json"))
def show_schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    print(json.dumps(schema(), indent=2, ensure_ascii=False))


@config.command("example", epilog=examples("proxyd config example > config.yaml"))
def show_example() -> None:
    """Print config.example.yaml."""
    print(example(), end="")


@config.command(epilog=examples("proxyd config show", "proxyd config show --json -c config.yaml"))
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(file: Path | None, as_json: bool) -> None:
    """Print what a file means: every option of every host with what is in force, secrets hidden."""
    try:
        found = load_found(file, reads_bundles=False, serves=True)
    except ConfigError as error:
        refuse(str(error))
    for warning in found.warnings:
        print(warning, file=sys.stderr)
    if as_json:
        print_json(shown(found))
    else:
        print(yaml.safe_dump(shown(found), sort_keys=False, allow_unicode=True, width=120), end="")
