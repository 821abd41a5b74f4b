"""`reload`: the file is read again, and a person waits for the outcome."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from proxyd.admin.control_address import OTHER_CACHE
from proxyd.admin.control_socket import Refused, Request, Tell
from proxyd.config.document import ConfigError
from proxyd.daemon.command_arguments import flag
from proxyd.daemon.reload import Reloaded, ReloadRefused


class ReloadCommand:
    """Answers what changed, or why nothing did. `file`: what the daemon reads; None: it was started without one."""

    def __init__(self, *, reload: Callable[[bool], Awaitable[Reloaded]], file: Callable[[], Path | None]) -> None:
        self._reload = reload
        self._file = file

    async def answer(self, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Reload. Raises Refused when the caller means another file."""
        self._refuse_another(request.arguments.get("file"))
        try:
            done = await self._reload(flag(request, "yes"))
        except ConfigError as error:
            return {"applied": False, "refused": None, **error.to_document()}
        except ReloadRefused as refused:
            return {"applied": False, "refused": str(refused), "mistakes": []}
        return {"applied": True, **done.change.to_document(), "warnings": list(done.warnings)}

    def _refuse_another(self, named: object) -> None:
        """A person who names a file that nobody reads would look for its changes in vain."""
        file = self._file()
        if isinstance(named, str) and file is not None and not _is_same(Path(named), file):
            raise Refused(f"the daemon there reads {file}: reload that one (-c {file})", status=OTHER_CACHE)


def _is_same(one: Path, other: Path) -> bool:
    return one == other or one.resolve() == other.resolve()
