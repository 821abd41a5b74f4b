"""PEM copies of a certificate for other programs, written so that nobody ever reads half a file."""

import errno
import grp
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from proxyd.certs.certificate import Certificate
from proxyd.config.host import Export
from proxyd.store.directory import sync_directory

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)
_DIRECTORY_MODE = 0o750


class ExportError(Exception):
    """The copies could not be written. The text says which, why, and the next step."""


def copies(options: Export, stem: str) -> dict[str, Path]:
    """Return where the copies of a host are: privkey, fullchain, and combined, which has both."""
    return {kind: options.dir / f"{stem}.{kind}.pem" for kind in ("privkey", "fullchain", "combined")}


def export(options: Export, stem: str, certificate: Certificate) -> bool:
    """Write what is missing or differs, and return whether anything was. Blocks. Raises ExportError.

    All files are complete before the first takes its place, so that key and chain belong together but for an instant.
    """
    key, chain = _parts(certificate.pem)
    contents = {"privkey": key, "fullchain": chain, "combined": key + chain}
    group = _group(options)
    try:
        _make_directory(options.dir, group, is_asked=options.group is not None)
        stale = [
            (path, contents[kind])
            for kind, path in copies(options, stem).items()
            if not _is_right(path, contents[kind], options.mode, group)
        ]
        _replace(stale, options.mode, group)
    except OSError as error:
        raise ExportError(f"{options.dir} cannot take the copies of {stem}: {_reason(error, options)}") from None
    return bool(stale)


def _parts(pem: bytes) -> tuple[bytes, bytes]:
    key = chain = b""
    for block in _BLOCK.finditer(pem):
        text = block[0].rstrip(b"\n") + b"\n"
        if block[1].endswith(b"PRIVATE KEY"):
            key += text
        elif block[1] == b"CERTIFICATE":
            chain += text
    return key, chain


def _group(options: Export) -> int:
    if options.group is None:
        return os.getegid()
    if options.group.isdigit():
        return int(options.group)
    try:
        return grp.getgrnam(options.group).gr_gid
    except KeyError:
        raise ExportError(
            f"export.group: this machine has no group {options.group}: make it (groupadd --system {options.group})"
        ) from None


def _make_directory(path: Path, group: int, *, is_asked: bool) -> None:
    """Make it for the group, or give it one that we made and could not give before, where a group `is_asked` for."""
    try:
        path.mkdir(_DIRECTORY_MODE)
        is_new = True
    except FileExistsError:
        is_new = False
    try:  # who may write beside it may have put a link in its place
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if is_new:
            raise
        return  # a link of the operator's, or what cannot be written to, which is said then
    try:
        status = os.fstat(descriptor)
        is_ours = status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == _DIRECTORY_MODE
        if is_new:
            os.fchmod(descriptor, _DIRECTORY_MODE)
        if status.st_gid != group and (is_new or (is_ours and is_asked)):
            _give(descriptor, group)
    finally:
        os.close(descriptor)


def _is_right(path: Path, content: bytes, mode: int, group: int) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        return (status.st_mode & 0o7777, status.st_gid) == (mode, group) and file.read(len(content) + 1) == content


def _replace(files: list[tuple[Path, bytes]], mode: int, group: int) -> None:
    ready: list[tuple[Path, Path]] = []
    try:
        for path, content in files:
            temporary = path.with_name(f".proxyd-{secrets.token_hex(8)}")
            ready.append((temporary, path))
            _write(temporary, content, mode, group)
        for temporary, path in ready:
            temporary.replace(path)
    finally:
        for temporary, _ in ready:
            with suppress(OSError):
                temporary.unlink()
    for directory in {path.parent for path, _ in files}:
        sync_directory(directory)


def _write(path: Path, content: bytes, mode: int, group: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        if os.fstat(descriptor).st_gid != group:
            _give(descriptor, group)
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _give(descriptor: int, group: int) -> None:
    try:
        os.fchown(descriptor, -1, group)
    except PermissionError as error:
        error.filename = str(group)
        raise


def _reason(error: OSError, options: Export) -> str:
    said, place = os.strerror(error.errno or 0), options.dir
    match error.errno:
        case errno.EROFS:
            return (
                f"{said}: the sandbox of the unit keeps it read-only; add ReadWritePaths={place} under [Service] "
                "(systemctl edit proxyd) and restart"
            )
        case errno.EPERM if str(error.filename or "").isdigit():
            group = options.group or error.filename
            return (
                f"the daemon may give no file to the group {group}: it must be a member; add "
                f"SupplementaryGroups={group} under [Service] (systemctl edit proxyd) and restart"
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"{said}: let the daemon write there, by a group of the directory (chgrp, chmod g+rwx) that it is a "
                "member of: SupplementaryGroups= under [Service] (systemctl edit proxyd)"
            )
        case errno.ENOENT:
            return f"{said}: make its parent directory first"
        case errno.ENAMETOOLONG:
            return f"{said}: the host's name is too long for the names of the copies"
        case _:
            return said
