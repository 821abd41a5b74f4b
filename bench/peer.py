"""A server that is measured: its processes, all of them, their processor time and their memory."""

import contextlib
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.daemon import processor_seconds

_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerPlan:
    """How one is started. `version` is what it says of itself. `twin`: the same as another one, but for its log, or
    the number of its processes.
    """

    name: str
    version: str
    command: list[str]
    port: int
    twin: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


class Peer:
    """A running server, stopped at the end. What it writes goes to a file in `directory`."""

    def __init__(self, plan: PeerPlan, directory: Path) -> None:
        self.plan = plan
        self.name = plan.name
        self.port = plan.port
        self.log = directory / f"{plan.name.replace(' ', '-')}.out"

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            environment = {**os.environ, **self.plan.environment}
            self._process = subprocess.Popen(
                self.plan.command,
                cwd=self.log.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def cpu(self) -> float:
        """Return the seconds of processor time that its processes have used so far."""
        return sum(processor_seconds(pid) for pid in self._pids())

    @property
    def rss_kib(self) -> int:
        """Return the resident memory of its processes; what they share counts for each."""
        return self._memory("VmRSS")

    @property
    def peak_kib(self) -> int:
        """Return the most resident memory that its processes have had."""
        return self._memory("VmHWM")

    @property
    def descriptors(self) -> Counter[int]:
        """Return how many files each of its processes has open."""
        return Counter({pid: sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) for pid in self._pids()})

    def _memory(self, line: str) -> int:
        found = 0
        for pid in self._pids():
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            found += int(next(one.split()[1] for one in status if one.startswith(line)))
        return found

    def _pids(self) -> list[int]:
        found, ahead = [], [self._process.pid]
        while ahead:
            pid = ahead.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):  # a thread that ended meanwhile
                    ahead += map(int, (task / "children").read_text().split())
        return found

    def _wait(self) -> None:
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit(f"{self.name} does not listen:\n{self.log.read_text(errors='replace')[-2000:]}")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
