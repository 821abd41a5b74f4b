"""`proxyd`: the commands and their common options."""

import platform
import ssl
import sys
from importlib.metadata import version

import click

from proxyd.cli.account import account
from proxyd.cli.check import check
from proxyd.cli.config import config
from proxyd.cli.explain import explain
from proxyd.cli.plan import plan
from proxyd.cli.renew import renew
from proxyd.cli.revoke import revoke
from proxyd.cli.run import run
from proxyd.cli.status import status
from proxyd.version import __version__


def _version() -> str:
    versions = f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, uvloop {version('uvloop')}"
    return f"proxyd {__version__}, {versions}"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(message=_version())
def cli() -> None:
    """HTTPS for every host you list."""


cli.add_command(run)
cli.add_command(check)
cli.add_command(config)
cli.add_command(status)
cli.add_command(renew)
cli.add_command(plan)
cli.add_command(account)
cli.add_command(revoke)
cli.add_command(explain)


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 needs attention, 2 wrong input, 3 cannot reach the daemon."""
    sys.exit(cli(prog_name="proxyd"))
