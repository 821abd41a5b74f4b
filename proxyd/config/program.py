"""A program that is started: its words, never a line for a shell."""

import os
import shutil
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema


def parse_program(written: object) -> tuple[str, ...]:
    """Return `[CMD, ARG…]`. Raises ValueError that says what to write."""
    if isinstance(written, str):
        shown = ", ".join(written.split()) or "CMD, ARG"
        raise ValueError(f"must be a list, because no shell reads it: write [{shown}]")
    if not isinstance(written, list | tuple) or not written:
        raise ValueError("must be a list of a program and its arguments, like [/usr/local/bin/renewed, quietly]")
    words = tuple(str(one) if type(one) in (int, float) else one for one in written)
    if not all(isinstance(one, str) and "\0" not in one for one in words) or not words[0]:
        raise ValueError("must be a list of texts: put numbers and true/false in quotes")
    return words


def program_trouble(command: tuple[str, ...]) -> str | None:
    """Return why the program cannot be started by this user, or None."""
    if os.sep not in command[0]:
        if shutil.which(command[0]) is None:
            return f"there is no program {command[0]} in PATH: write its whole path"
        return None
    path = Path(command[0])
    if not path.is_absolute():
        return f"{command[0]} is relative, and to what depends on who starts the daemon: write its whole path"
    if not path.exists():
        return f"there is no {path}: install it, or correct the path"
    if not path.is_file() or not os.access(path, os.X_OK):
        return f"{path} is not executable: chmod +x {path}"
    return None


Program = Annotated[
    tuple[str, ...],
    BeforeValidator(parse_program),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]
