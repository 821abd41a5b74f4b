"""A way to tell people."""

import os
from typing import Protocol

from proxyd.core.notice import Notice


class ChannelError(Exception):
    """A notice was not taken. The text says by whom, why, and the next step; nothing secret is in it."""


def reason_of(error: OSError) -> str:
    """Return the system's word for it; that of asyncio shows only the address."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or type(error).__name__


class AlertChannel(Protocol):
    """Sends one notice after the other; who asks it retries. `kind`: as metrics call it; `name`: as messages do."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    async def send(self, notice: Notice) -> None:
        """Hand it over, within half a minute or so. Raises ChannelError. The same notice may come again."""
        ...
