"""The load generator (bench/go/load) as a process."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_PROGRAM = Path(__file__).resolve().parent / "bin/load"


class Counted(NamedTuple):
    """What it says; times in milliseconds, `error` is the first one."""

    requests: int
    errors: int
    error: str
    seconds: float
    p50: float
    p99: float
    tls: str


class Load:
    """Connections are open on entry, after one request each; `run` makes the requests that count."""

    def __init__(
        self, mode: str, port: int, host: str, root: Path, *, connections: int, seconds: float = 0, count: int = 0
    ) -> None:
        options = {"mode": mode, "address": f"127.0.0.1:{port}", "host": host, "root": root, "connections": connections}
        options |= {"seconds": seconds, "count": count}
        self._command = [str(_PROGRAM), *(f"-{key}={value}" for key, value in options.items())]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._read() != "ready":
            self._stop()
            raise SystemExit(f"failed: {' '.join(self._command)}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self) -> Counted:
        """Make the requests; the connections stay open until the end."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return Counted(**json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()
