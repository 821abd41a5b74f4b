"""Which configuration file a command reads."""

import sys
from pathlib import Path
from typing import NoReturn

from proxyd.config.document import ConfigError
from proxyd.config.load import load
from proxyd.config.model import Config

_DEFAULTS = (Path("/etc/proxyd/config.yaml"), Path("config.yaml"))


def find(chosen: Path | None) -> Path:
    """Return the file to read: the chosen one, else the first default that exists, else the first."""
    return chosen or next((one for one in _DEFAULTS if one.is_file()), _DEFAULTS[0])


def load_or_exit(file: Path) -> Config:
    """Return the configuration, or print every mistake and exit with 2."""
    try:
        return load(file)
    except ConfigError as error:
        refuse(str(error))


def refuse(message: str) -> NoReturn:
    """Say what is wrong with the input and exit with 2."""
    print(message, file=sys.stderr)
    raise SystemExit(2)
