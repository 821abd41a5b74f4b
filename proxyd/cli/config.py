"""`proxyd config`: what can be configured."""

import json

import click

from proxyd.cli.examples import examples
from proxyd.config.example import example
from proxyd.config.model import Config


@click.group(epilog=examples("proxyd config example", "proxyd config schema"))
def config() -> None:
    """Show what can be configured."""


@config.command(epilog=examples("proxyd config schema > proxyd.schema.json"))
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    print(json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False))


@config.command("example", epilog=examples("proxyd config example > config.yaml"))
def show_example() -> None:
    """Print config.example.yaml."""
    print(example(), end="")
