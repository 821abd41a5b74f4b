"""The processes of a daemon with workers, as the system sees them."""

import os
import signal
from pathlib import Path

from tests.support.daemon import DaemonProcess, eventually


def children(daemon: DaemonProcess) -> list[int]:
    """Return the processes of a running daemon: the one that obtains certificates, and the workers, by their birth."""
    assert daemon.process is not None
    supervisor = daemon.process.pid
    listed = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return sorted((int(pid) for pid in listed), key=_birth)


def workers(daemon: DaemonProcess) -> list[int]:
    """Return those that clients are connected to."""
    return [pid for pid in children(daemon) if sockets(pid) & _listening(daemon.https_port)]


def issuer(daemon: DaemonProcess) -> int:
    """Return the one that obtains certificates."""
    (pid,) = set(children(daemon)) - set(workers(daemon))
    return pid


def sockets(pid: int) -> set[str]:
    """Return the inodes of the sockets of a process."""
    found = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(one.readlink())
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def replaced(daemon: DaemonProcess, pid: int, *, number: int = signal.SIGKILL, seconds: float = 30.0) -> None:
    """Send a signal to a process, and wait until another one is there in its place."""
    before = len(children(daemon))
    os.kill(pid, number)
    eventually(
        lambda: pid not in children(daemon) and len(children(daemon)) == before, what=daemon.log, seconds=seconds
    )


def _listening(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {fields[9] for fields in lines if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}


def _birth(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
