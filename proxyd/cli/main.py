"""`proxyd`: the commands and their common options."""

import difflib
import platform
import ssl
import sys
from importlib import import_module
from importlib.metadata import version

import click

from proxyd.cli.examples import examples
from proxyd.version import __version__

#: Each is in the module of its name.
_COMMANDS = (
    "run",
    "check",
    "config",
    "status",
    "renew",
    "plan",
    "account",
    "revoke",
    "explain",
    "reload",
    "cert",
    "trust",
    "man",
    "password",
)


def _version() -> str:
    versions = f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, uvloop {version('uvloop')}"
    return f"proxyd {__version__}, {versions}"


class _Commands(click.Group):
    """Loads only the command that is called: what the others need takes longer than most of them run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"proxyd.cli.{cmd_name}"), cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if not (near := difflib.get_close_matches(args[0], _COMMANDS, n=1)):
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]}?", ctx) from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("proxyd run example.com=8080", "proxyd check -c config.yaml", "proxyd status"),
)
@click.version_option(message=_version())
def cli() -> None:
    """HTTPS for every host you list.

    Exit status: 0 done, 1 done but something needs attention, 2 wrong input, 3 cannot reach the daemon.
    """


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 needs attention, 2 wrong input, 3 cannot reach the daemon."""
    sys.exit(cli(prog_name="proxyd"))
