"""Where the control socket is: bound without taking it from a living daemon, found by the commands."""

import contextlib
import fcntl
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Status of a refusal: it is another daemon, by its cache or its file: the next place may have the right one.
OTHER_CACHE = 4
_NAME = "control.sock"
_ALONE = "proxyd.sock"
_SYSTEM = Path("/run/proxyd")
_MAX_SUN_PATH = 107  # unix(7): 108 bytes with the NUL
_BACKLOG = 16
_LOOK_SECONDS = 2.0


class SocketTaken(OSError):
    """The place is not ours: another daemon answers there, or it is no socket."""


def candidates(chosen: Path | None, cache: Path) -> list[Path]:
    """Return where the socket may be, in the order of preference: the user's choice alone, else the usual places."""
    if chosen is not None:
        return [chosen]
    runtime = [Path(one) for one in os.environ.get("RUNTIME_DIRECTORY", "").split(":")[:1] if one]
    return [directory / _NAME for directory in (*runtime, _SYSTEM, cache / "+proxyd")]


def last_resorts(chosen: Path | None) -> list[Path]:
    """Return where it is when none of these can be had: a cache that takes nothing is what a person has to hear of."""
    if chosen is not None:
        return []
    session = os.environ.get("XDG_RUNTIME_DIR")
    return [directory / _ALONE for directory in (*([Path(session)] if session else ()), *_of_root())]


def _of_root() -> list[Path]:
    return [_SYSTEM.parent] if os.geteuid() == 0 else []


def bind(path: Path) -> socket.socket:
    """Return a listening socket at `path`, mode 0600; what a dead daemon left is replaced. Raises OSError."""
    with _reachable(path) as (directory, near):
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two daemons that start together would both see it dead
        _refuse_if_taken(path, near(path.name))
        temporary = f".{_NAME}.{secrets.token_hex(4)}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.bind(near(temporary))
            os.chmod(temporary, 0o600, dir_fd=directory)
            sock.listen(_BACKLOG)
            os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            sock.close()
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        return sock


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file is at `path`, so that a daemon removes only its own socket."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def connect(path: Path, *, timeout: float) -> socket.socket:
    """Return a connection to the daemon at `path`. Blocks at most `timeout` seconds. Raises OSError."""
    with _reachable(path) as (_, near):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(timeout)
            sock.connect(near(path.name))
        except BaseException:
            sock.close()
            raise
        return sock


class _Near:
    """Names of a directory, short enough for a socket's address whatever the directory is called."""

    def __init__(self, directory: Path, descriptor: int) -> None:
        self._directory = directory
        self._descriptor = descriptor

    def __call__(self, name: str) -> str:
        plain = str(self._directory / name)
        return plain if len(os.fsencode(plain)) <= _MAX_SUN_PATH else f"/proc/self/fd/{self._descriptor}/{name}"


@contextmanager
def _reachable(path: Path) -> Iterator[tuple[int, _Near]]:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor, _Near(path.parent, descriptor)
    finally:
        os.close(descriptor)


def _refuse_if_taken(path: Path, address: str) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise SocketTaken(f"{path} is no socket: remove it, or set admin.socket to another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as look:
        look.settimeout(_LOOK_SECONDS)
        try:
            look.connect(address)
        except ConnectionRefusedError:
            return
        except OSError as error:  # full backlog, no permission: somebody is there
            raise SocketTaken(f"{path} is in use ({error.strerror or error})") from error
    raise SocketTaken(f"another daemon answers at {path}")
