"""Which configuration file a command reads."""

import sys
from pathlib import Path
from typing import NoReturn

from proxyd.config.document import ConfigError, Mistake
from proxyd.config.load import load
from proxyd.config.model import Config
from proxyd.config.own_pair_check import Judge

_DEFAULTS = (Path("/etc/proxyd/config.yaml"), Path("config.yaml"))
#: Where a file is looked for when none is named.
PLACES = f"neither {_DEFAULTS[0]} nor ./{_DEFAULTS[1]}"


class NoConfigFile(ConfigError):
    """No file is named, and none lies at a usual place."""

    def __init__(self) -> None:
        instead = "name yours with -c FILE, or make one (`proxyd config example`)"
        text = f"there is no configuration file, {PLACES}: {instead}"
        super().__init__(_DEFAULTS[0], [Mistake(line=1, column=1, location="", message=text)])
        self.args = (text,)  # it has no place in a file


def find(chosen: Path | None) -> Path:
    """Return the file to read: the chosen one, else the first default that exists, else the first."""
    return chosen or next((one for one in _DEFAULTS if one.is_file()), _DEFAULTS[0])


def load_found(
    chosen: Path | None, *, reads_bundles: bool = True, serves: bool = False, judge: Judge | None = None
) -> Config:
    """Return the configuration in the chosen file or the one that is found, as `load` does. Raises ConfigError."""
    file = find(chosen)
    if chosen is None and not file.exists():
        raise NoConfigFile
    return load(file, reads_bundles=reads_bundles, serves=serves, judge=judge)


def load_or_exit(chosen: Path | None) -> Config:
    """Return the configuration for a daemon, or print every mistake and exit with 2."""
    try:
        return load_found(chosen, serves=True)
    except ConfigError as error:
        refuse(str(error))


def refuse(message: str) -> NoReturn:
    """Say what is wrong with the input and exit with 2."""
    print(message, file=sys.stderr)
    raise SystemExit(2)
