"""`proxyd password`: a line for the file of `basic_auth.users`."""

import sys

import click
from argon2 import PasswordHasher

from proxyd.cli.config_file import refuse
from proxyd.cli.examples import examples
from proxyd.core.user_list import UserListError, check_name

#: What OWASP asks for at least: 19 MiB and two passes. Each first login costs that, two at a time.
_MEMORY_KIB, _PASSES, _LANES = 19_456, 2, 1


@click.command(epilog=examples("proxyd password alice >> /etc/proxyd/users", "pass show alice | proxyd password alice"))
@click.argument("name")
def password(name: str) -> None:
    """Print the line of a user for the file of basic_auth.users: NAME and the argon2id hash of a password.

    The password is asked for at a terminal, without showing it, else read as the first line of stdin.
    """
    try:
        check_name(name)
    except UserListError as error:
        refuse(f"{name!r}: {error}")
    given = _asked()
    if not given or not given.isprintable():
        refuse("the password is empty, or has control characters that no browser sends: choose another one")
    hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)
    print(f"{name}:{hasher.hash(given)}")


def _asked() -> str:
    if sys.stdin.isatty():
        found: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return found
    return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
