"""The daemon as a subprocess, with a configuration of its own."""

import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Protocol

import yaml

from pebble.server import free_port
from tests.support.launcher import Launched, launch
from tests.support.secrets import check_hides_secrets

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 30.0


class AcmeServer(Protocol):
    """A CA for tests."""

    bundle: Path

    @property
    def url(self) -> str: ...


class DaemonProcess:
    """`proxyd run` on ports of 127.0.0.1; its log is a file."""

    run: tuple[str, ...] = ("-m", "proxyd", "run", "-c")

    def __init__(self, directory: Path, *, http_port: int | None = None) -> None:
        self.directory = directory
        self.cache = directory / "cache"
        self.file = directory / "config.yaml"
        self.https_port = free_port()
        self.http_port = http_port or free_port()
        self.process: subprocess.Popen[bytes] | Launched | None = None
        self._log_file: IO[bytes] | None = None
        self._log_path = directory / "proxyd.log"
        self._began_at = 0

    def configure(self, hosts: dict[str, object], *, pebble: AcmeServer | None = None, **more: object) -> None:
        acme = {"server": pebble.url, "ca_bundle": str(pebble.bundle)} if pebble else {}
        config: dict[str, object] = {
            "listen": {"https": f"127.0.0.1:{self.https_port}", "http": f"127.0.0.1:{self.http_port}"},
            "cache": str(self.cache),
            "hosts": hosts,
        }
        if acme:
            config["acme"] = acme
        config.update(more)
        log = config.get("log", {"level": "debug"})
        if isinstance(log, dict):  # its file is no terminal, and tests read what a person reads
            config["log"] = {"format": "console", **log}
        admin = config.get("admin", {})
        if isinstance(admin, dict):  # many daemons run on one machine: none has the default port
            config["admin"] = {"listen": [], **admin}
        self.file.write_text(yaml.safe_dump(config))

    def start(
        self,
        *,
        wait: bool = True,
        prepare: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "DaemonProcess":
        """Start it; `prepare` runs in its process before it: limits, privileges. `environment`: beside ours."""
        self._log_file = self._log_path.open("ab")
        self._began_at = self._log_path.stat().st_size
        log = self._log_file.fileno()
        if prepare is None and environment is None and self.run is DaemonProcess.run:
            self.process = launch(("run", "-c", str(self.file)), stdout=log, stderr=log)
        else:
            command, variables = [sys.executable, *self.run, str(self.file)], {**os.environ, **(environment or {})}
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=variables, stderr=log, stdout=log, preexec_fn=prepare
            )
        if wait:
            eventually(self._listens, what=self.log)
        return self

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"ended at its start\n{self.log()[-4000:]}")
        began_at = self._began_at if self._log_path.stat().st_size >= self._began_at else 0
        return b"listening" in self._log_path.read_bytes()[began_at:] and accepts(self.http_port)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not stop within {SECONDS} s\n{self.log()[-4000:]}") from None
        finally:
            if self.process.poll() is None:
                self.process.kill()
            if self._log_file is not None:
                self._log_file.close()
        self._look_for_secrets()
        return status

    def hang_up(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def reload(self) -> None:
        """Have it read its file again, and wait until it has, within a few seconds: something may hold it up."""
        before = self._log_path.stat().st_size
        self.hang_up()
        until = time.monotonic() + 3.0
        while time.monotonic() < until and b"reload" not in self._log_path.read_bytes()[before:]:
            time.sleep(0.02)  # a file tells nobody that it has grown

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def _look_for_secrets(self) -> None:
        for path in (self._log_path, *self.directory.rglob("*access*.log*")):
            if path.is_file():
                check_hides_secrets(path.read_text(errors="replace"), file=self.file, cache=self.cache)

    def forget_log(self) -> None:
        self._look_for_secrets()
        os.truncate(self._log_path, 0)

    def journal(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the journal's database, or change it."""
        with closing(sqlite3.connect(self.cache / "+proxyd" / "journal.sqlite3", timeout=5)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def wait_for(self, text: str, *, seconds: float = SECONDS) -> None:
        eventually(lambda: text in self.log(), what=self.log, seconds=seconds)

    def rss_kib(self) -> int:
        """Return the memory of the daemon and its children."""
        return sum(_status_kib(pid, "VmRSS") for pid in self._pids())

    def peak_kib(self) -> int:
        """Return the most memory that each of them ever had, in all."""
        return sum(_status_kib(pid, "VmHWM") for pid in self._pids())

    def has_loaded(self, library: str) -> bool:
        """Return whether a library with this in its name is in its memory."""
        assert self.process is not None
        return library in Path(f"/proc/{self.process.pid}/maps").read_text()

    def _pids(self) -> list[int]:
        assert self.process is not None
        found = [self.process.pid]
        for pid in found:  # grows while it is read
            found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found


def _status_kib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


def eventually(
    condition: Callable[[], object], *, what: Callable[[], str] = lambda: "", seconds: float = SECONDS
) -> None:
    """Wait until `condition` holds; fail with `what` after a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s\n{what()[-4000:]}"
        time.sleep(0.02)


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class HttpsClient:
    """One verified TLS connection at a time; the CA's root is the only trust anchor."""

    def __init__(self, port: int, root: bytes) -> None:
        self._port = port
        self._context = ssl.create_default_context(cadata=root.decode())

    def connect(self, host: str) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        try:
            return self._context.wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise

    def leaf(self, host: str) -> bytes:
        with self.connect(host) as tls:
            return tls.getpeercert(binary_form=True) or b""

    def wait_for(self, hosts: Iterable[str], *, daemon: DaemonProcess) -> None:
        for host in hosts:
            eventually(lambda host=host: self._served(host), what=daemon.log)  # type: ignore[misc]

    def _served(self, host: str) -> bool:
        try:
            return bool(self.leaf(host))
        except OSError:
            return False

    def exchange(self, host: str, request: bytes) -> bytes:
        """Send raw bytes and return all that comes until the end of the stream."""
        with self.connect(host) as tls:
            tls.sendall(request)
            received = b""
            while data := tls.recv(65536):
                received += data
            return received

    def get(self, host: str, path: str = "/", *, headers: str = "", name: str | None = None) -> bytes:
        request = f"GET {path} HTTP/1.1\r\nHost: {name or host}\r\n{headers}Connection: close\r\n\r\n"
        return self.exchange(host, request.encode())
