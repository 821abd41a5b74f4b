"""`proxyd check`: is the file right?"""

from pathlib import Path

import click

from proxyd.cli.config_file import find, load_or_exit


@click.command()
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Configuration file.")
def check(file: Path | None) -> None:
    """Say every mistake in the configuration file at once."""
    chosen = find(file)
    found = load_or_exit(chosen)
    count = len(found.served)
    print(f"{chosen}: right; {count} {'host' if count == 1 else 'hosts'}")
