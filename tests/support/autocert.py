"""A Go program with autocert, on the same cache directory and the same ports as the daemon, in turns."""

import subprocess
from pathlib import Path
from typing import IO

from pebble.server import Pebble
from tests.support.daemon import ROOT, DaemonProcess, eventually

_PROGRAM = ROOT / "pebble" / "bin" / "autocert-peer"


class AutocertProcess:
    """tests/go/autocert-peer. Leaving the context ends it."""

    def __init__(self, daemon: DaemonProcess, pebble: Pebble, *hosts: str) -> None:
        self._command: list[str | Path] = [_PROGRAM, "-directory", pebble.url, "-bundle", pebble.bundle]
        self._command += ["-cache", daemon.cache, "-https", f"127.0.0.1:{daemon.https_port}"]
        self._command += ["-http", f"127.0.0.1:{daemon.http_port}", *hosts]
        self._log_path = daemon.directory / "autocert.log"
        self._log_file: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "AutocertProcess":
        self._log_file = self._log_path.open("wb")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=self._log_file, stderr=self._log_file
        )
        eventually(lambda: "serving" in self.log(), what=self.log)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._log_file is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._log_file.close()

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")
