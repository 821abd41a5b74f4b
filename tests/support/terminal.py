"""A command at a terminal, as a person sees it."""

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence

from tests.support.daemon import ROOT, DaemonProcess


def at_terminal(
    daemon: DaemonProcess, *arguments: str, columns: int = 100, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run `proxyd ARGUMENTS -c FILE` at a terminal; return its exit status and what is on the screen."""
    command = [sys.executable, "-m", "proxyd", *arguments, "-c", str(daemon.file)]
    return screen(command, columns=columns, environment={"NO_COLOR": "", **(environment or {})})


def screen(command: Sequence[str], *, columns: int = 100, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run any command at a terminal."""
    ours, its = pty.openpty()
    try:
        termios.tcsetwinsize(its, (40, columns))
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=its,
            stdout=its,
            stderr=its,
            env={**os.environ, "TERM": "xterm", **environment},
        )
    finally:
        os.close(its)
    shown = b""
    try:
        while data := _read(ours):
            shown += data
        return process.wait(30), shown.decode().replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: nobody has the other end any more
        return b""
