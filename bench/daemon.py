"""The daemon as the measurements run it: its bytecode is compiled, as that of an installed package is."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).resolve().parent.parent
_SECONDS = 120.0


class Client:
    """Verified handshakes with the daemon."""

    def __init__(self, port: int, root: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(root))

    def handshake(self, host: str) -> float:
        """Make one and return the seconds it took; raises OSError."""
        began = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=20) as raw,
            self._context.wrap_socket(raw, server_hostname=host),
        ):
            return time.monotonic() - began


class MeasuredDaemon:
    """`proxyd run`, killed at the end; its log is beside the configuration. It tells by sd_notify how far it is."""

    def __init__(self, config: Path) -> None:
        self.log = config.parent / "proxyd.log"
        self._config = config
        self._told = config.parent / "notify"
        self._environment = environment(config.parent)

    def __enter__(self) -> Self:
        self._told.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._told))
        self._socket.settimeout(_SECONDS)
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "proxyd", "run", "-c", str(self._config)]
            environment = {**self._environment, "NOTIFY_SOCKET": str(self._told)}
            self._process = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=log, stderr=log)
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._socket.close()

    @property
    def age(self) -> float:
        """Return the seconds since its process began."""
        return time.monotonic() - self._began

    @property
    def cpu(self) -> float:
        """Return the seconds of processor time used so far."""
        return processor_seconds(self._process.pid)

    def rss_mib(self, line: str = "VmRSS") -> float:
        """Return the resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(one.split()[1] for one in status if one.startswith(line))) / 1024

    def wait_for(self, told: str) -> None:
        """Wait until it tells a state with these words."""
        while told not in self._socket.recv(4096).decode():
            pass

    def reload(self) -> None:
        """Reload, and wait until that is done."""
        self._process.send_signal(signal.SIGHUP)
        self.wait_for("RELOADING=1")
        self.wait_for("READY=1")


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment(directory: Path) -> Mapping[str, str]:
    """Return the environment of a program that keeps its bytecode under `directory`."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(_ROOT), "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}


def command(directory: Path, *words: str | Path) -> tuple[float, float]:
    """Run a command of proxyd; return its seconds and its processor time. Exit status 1 only asks for attention."""
    began = time.monotonic()
    line = [sys.executable, "-m", "proxyd", *words]
    process = subprocess.Popen(line, cwd=_ROOT, env=environment(directory), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(map(str, line))} failed with {process.returncode}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime


def load() -> str:
    """Return how busy the machine is."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
