"""The commands as subprocesses, beside a daemon."""

import json
import subprocess
import sys
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from tests.support.daemon import ROOT, DaemonProcess
from tests.support.launcher import launch


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


def command(daemon: DaemonProcess, *arguments: str, uid: int | None = None) -> Done:
    """Run `proxyd ARGUMENTS -c FILE`, as another user when `uid` is given."""
    line = (*arguments, "-c", str(daemon.file))
    if uid is None:
        return proxyd(*line)
    done = subprocess.run(
        [sys.executable, "-m", "proxyd", *line],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        user=uid,
        extra_groups=[],
    )
    return Done(done.returncode, done.stdout, done.stderr)


def proxyd(*arguments: str) -> Done:
    """Run `proxyd ARGUMENTS`."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = launch(arguments, stdout=out.fileno(), stderr=err.fileno())
        try:
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return Done(status, out.read(), err.read())
