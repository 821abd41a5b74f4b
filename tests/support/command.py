"""The commands as subprocesses, beside a daemon."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.support.daemon import ROOT, DaemonProcess


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
    done = subprocess.run(
        [sys.executable, "-m", "proxyd", *arguments, "-c", str(daemon.file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        user=uid,
        extra_groups=[] if uid is not None else None,
    )
    return Done(done.returncode, done.stdout, done.stderr)
