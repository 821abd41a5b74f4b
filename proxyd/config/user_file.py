"""The file of `basic_auth.users`."""

from pathlib import Path
from typing import Final

from proxyd.config.regular_file import read_regular
from proxyd.core.user_list import UserList, UserListError

_LONGEST: Final = 4 << 20


def read_users(file: Path) -> UserList:
    """Return who is in a file. Raises UserListError. Blocks."""
    try:
        content = read_regular(file, _LONGEST + 1)
    except OSError as error:
        raise UserListError(f"cannot be read: {error.strerror}") from None
    if len(content) > _LONGEST:
        raise UserListError("is longer than 4 MiB: is it the right file?")
    return UserList.parse(content)


def users_trouble(file: Path) -> str | None:
    """Return why nobody new can come in by a file, for a person; None: it is right. Blocks."""
    try:
        users = read_users(file)
    except UserListError as error:
        return f"{file}: {error}"
    if users.hashes:
        return None
    return f"{file} has no user in it, and nobody could come in: `proxyd password NAME` makes a line"
