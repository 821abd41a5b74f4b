"""The file of `basic_auth.users`."""

from pathlib import Path
from typing import Final

from proxyd.config.regular_file import open_regular
from proxyd.core.user_list import UserList, UserListError

_LONGEST: Final = 4 << 20


def read_users(file: Path) -> UserList:
    """Return who is in a file. Raises UserListError. Blocks."""
    try:
        with open_regular(file) as opened:
            content = opened.read(_LONGEST + 1)
    except OSError as error:
        raise UserListError(f"cannot be read: {error.strerror}") from None
    if len(content) > _LONGEST:
        raise UserListError("is longer than 4 MiB: is it the right file?")
    return UserList.parse(content)
