"""Where the daemon of a file keeps its cache and its control socket, read in spite of the file's mistakes."""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from proxyd.config.document import Document
from proxyd.config.values import File

_KEY = re.compile(r"""["']?(cache|admin)["']?\s*:""")
_FILE = TypeAdapter[Path](File)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonPlace:
    """`socket`, `cache`: None where the file names none, or where that itself cannot be read."""

    socket: Path | None = None
    cache: Path | None = None

    @classmethod
    def read(cls, file: Path) -> "DaemonPlace":
        """Return what a file with mistakes tells; a daemon that took an earlier state of it still runs there."""
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return cls()
        found = Document(text).data
        data = found if isinstance(found, dict) else _top_level(text)
        admin = data.get("admin")
        return cls(
            socket=_path(admin.get("socket")) if isinstance(admin, dict) else None, cache=_path(data.get("cache"))
        )


def _top_level(text: str) -> dict[str, object]:
    """Return `cache` and `admin` of what is no YAML as a whole: each key of the top with what is indented under it."""
    data: dict[str, object] = {}
    for block in re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE):
        found = Document(block).data if _KEY.match(block) else None
        data.update(found if isinstance(found, dict) else {})
    return data


def _path(written: object) -> Path | None:
    try:
        return _FILE.validate_python(written) if isinstance(written, str) and written else None
    except (ValidationError, RuntimeError):  # RuntimeError: ~ of a user that there is not
        return None
