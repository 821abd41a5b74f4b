"""A journal that takes entries by systemd's native protocol, as its documentation says."""

import array
import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType


class Journal:
    """A datagram socket at `path`; reads entries as mappings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.socket.close()

    def entry(self) -> dict[str, str]:
        """Return the next entry."""
        data, ancillary, flags, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        if ancillary:
            assert data == b""
            ((_, _, passed),) = ancillary
            (descriptor,) = array.array("i", passed)
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == seals
            with open(descriptor, "rb") as file:
                os.lseek(descriptor, 0, os.SEEK_SET)
                data = file.read()
        return parsed(data)


def parsed(data: bytes) -> dict[str, str]:
    """Return the fields of an entry: NAME=VALUE, or NAME, a size of 64 bits and that many bytes."""
    found: dict[str, str] = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if not is_short:
            size = int.from_bytes(rest[:8], "little")
            value, end = rest[8 : 8 + size], rest[8 + size : 9 + size]
            assert (len(value), end) == (size, b"\n")
            rest = rest[9 + size :]
        assert name.decode().replace("_", "A").isalnum()
        assert name == name.upper()
        assert name.decode() not in found
        found[name.decode()] = value.decode()
        data = rest
    return found
