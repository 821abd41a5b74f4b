"""Which files a configuration came from, and how they were when they were read."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import escape, iglob
from pathlib import Path

#: Device, inode, size and time of change of what a path leads to, symbolic links followed.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`file`: None when there is none; `patterns`: of what it includes, absolute.

    `stamps`: of every file, as it was when it was read.
    """

    file: Path | None = None
    patterns: tuple[str, ...] = ()
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    def now(self) -> Mapping[str, Stamp]:
        """Return how the files are now; those that cannot be seen are left out. Blocks."""
        if self.file is None:
            return {}
        paths = [str(self.file), *(path for pattern in self.patterns for path in included(pattern, self.file))]
        return {path: found for path in paths if (found := _stamp(path)) is not None}


class Unreadable(Exception):
    """A file cannot be read; the text says why, and what to do."""


def read(file: Path) -> tuple[str, Stamp]:
    """Return the text of a file, and how the file was then. Raises FileNotFoundError, Unreadable."""
    try:
        with file.open(encoding="utf-8") as opened:
            stamp = stamp_of(os.fstat(opened.fileno()))
            return opened.read(), stamp
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise Unreadable("is a directory: give the configuration file in it") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}; check its owner and mode (ls -l {file})") from None


def included(pattern: str, file: Path) -> Iterator[str]:
    """Yield the files that `include` of `file` means by an absolute pattern: not itself, and no directory."""
    for path in sorted(iglob(pattern)):  # noqa: PTH207 - Path.glob has hidden files too, like those of editors
        if path != str(file) and not Path(path).is_dir():
            yield path


def absolute(written: str, file: Path) -> str:
    """Return a pattern as it is meant in `file`."""
    return str(Path(escape(str(file.parent))) / Path(written).expanduser())


def stamp_of(found: os.stat_result) -> Stamp:
    """Return what tells a file from itself after a change."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _stamp(path: str) -> Stamp | None:
    try:
        return stamp_of(Path(path).stat())
    except OSError:
        return None
