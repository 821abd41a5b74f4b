"""What systemd does for a daemon with `FileDescriptorStoreMax=` and `WatchdogSec=`: hears it, keeps its sockets."""

import array
import os
import socket
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from typing import Self

from tests.support.daemon import ROOT, DaemonProcess, eventually

_MOST = 253
#: Has descriptors where sd_listen_fds(3) has them, then becomes the daemon: its first arguments are theirs.
_BECOME = """
import fcntl, os, sys
numbers, arguments = [int(one) for one in sys.argv[1].split(",") if one], sys.argv[2:]
high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 200) for one in numbers]
for one in numbers:
    os.set_inheritable(one, False)
for place, one in enumerate(high):
    os.dup2(one, 3 + place, inheritable=True)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *arguments])
"""


class ServiceManager:
    """Starts a daemon again and again with the sockets that it gave to be kept."""

    def __init__(self, daemon: DaemonProcess, *, watchdog: float = 0) -> None:
        self._daemon = daemon
        self._watchdog = watchdog
        self.told: Counter[str] = Counter()
        self.kept: defaultdict[str, list[int]] = defaultdict(list)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path = daemon.directory / "notify"
        self._socket.bind(str(self._path))
        self._reader = threading.Thread(target=self._read)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"END", str(self._path))
        self._reader.join()
        self._socket.close()
        for one in [one for kept in self.kept.values() for one in kept]:
            os.close(one)

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.told["READY=1"] = 0
        passed = [(name, one) for name, kept in self.kept.items() for one in kept]
        environment = {"NOTIFY_SOCKET": str(self._path)}
        if passed:
            environment["LISTEN_FDS"] = str(len(passed))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in passed)
        if self._watchdog:
            environment["WATCHDOG_USEC"] = str(int(self._watchdog * 1e6))
        numbers = [one for _, one in passed]
        command = [
            sys.executable,
            "-c",
            _BECOME,
            ",".join(map(str, numbers)),
            *self._daemon.run,
            str(self._daemon.file),
        ]
        with (self._daemon.directory / "proxyd.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stderr=log, pass_fds=numbers, env={**os.environ, **environment}
            )
        eventually(lambda: self.told["READY=1"], what=self._daemon.log)

    def stop(self) -> None:
        """Stop it, and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(30) == 0
            self._process = None

    def _read(self) -> None:
        while True:
            data, attached, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(4 * _MOST))
            if data == b"END":
                return
            lines = data.decode().splitlines()
            fields = dict(line.split("=", 1) for line in lines)
            for _, _, sent in attached:
                self._keep(fields["FDNAME"], array.array("i", sent))
            if "FDSTOREREMOVE" in fields:
                for one in self.kept.pop(fields["FDNAME"], []):
                    os.close(one)
            self.told.update(lines)

    def _keep(self, name: str, descriptors: "array.array[int]") -> None:
        known = {os.fstat(one).st_ino for one in self.kept[name]}
        for one in descriptors:
            if os.fstat(one).st_ino in known:
                os.close(one)
            else:
                self.kept[name].append(one)
