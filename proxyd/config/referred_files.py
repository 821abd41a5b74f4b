"""Which files the hosts of a configuration refer to, and how they are: whether they have to be read again."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from proxyd.config.host import HostOptions
from proxyd.config.model import Config

#: Device, inode, size, time of change, mode and owners of what a path leads to; the number of the error where nothing.
FileState = tuple[int, ...]
FileStates = Mapping[str, FileState]


def referred_files(config: Config) -> tuple[str, ...]:
    """Return every file that a host refers to, once; `acme.ca_bundle` is not one: it is read when its CA is asked."""
    return tuple(sorted({str(file) for options in config.hosts.values() for file in _files(options) if file}))


def states_of(files: Iterable[str]) -> FileStates:
    """Return how files are now, symbolic links followed. Blocks."""
    return {file: _state(file) for file in files}


def changed_files(before: FileStates, now: FileStates) -> list[str]:
    """Return those that are otherwise than before."""
    return [file for file, state in now.items() if before.get(file) != state]


def _files(options: HostOptions) -> Iterator[Path | None]:
    tls, upstream = options.tls, options.upstream_tls
    yield from (tls.client_ca, tls.client_crl, tls.cert, tls.key, upstream.ca, upstream.cert, upstream.key)
    yield options.maintenance.page if options.maintenance else None
    yield options.basic_auth.users if options.basic_auth else None
    yield options.forward_auth.ca if options.forward_auth else None


def _state(file: str) -> FileState:
    try:
        found = os.stat(file)  # noqa: PTH116 - a Path costs more than the call, ten thousand times
    except OSError as error:
        return (error.errno or 0,)
    except ValueError:  # a NUL in the name
        return (0,)
    # The mode and the owners too: a file that could not be read can be after `chmod`.
    return (*_identity(found), found.st_mode, found.st_uid, found.st_gid)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
