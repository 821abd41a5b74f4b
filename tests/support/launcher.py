"""Starts `proxyd` by a fork of a process that has done its imports: a second less for each of a thousand starts.

What is started has its own command line, environment and output; only /proc shows another command. What a library
reads of the environment when it is imported is that of the first start: who changes that does not start it from here.
"""

import atexit
import gc
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final
from weakref import finalize

_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_MOST = 1 << 17  # bytes of a wish: an environment is the most of it


class Launched:
    """A process that was started; what tests use of `subprocess.Popen`, in any thread."""

    def __init__(self, link: socket.socket) -> None:
        told, (self._handle,), _, _ = socket.recv_fds(link, 64, 1)
        self.pid = int(told)
        self.returncode: int | None = None
        self._link, self._lock = link.detach(), Lock()
        for descriptor in (self._handle, self._link):
            finalize(self, os.close, descriptor)

    def poll(self) -> int | None:
        """Return how it ended, below zero by a signal, or None."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended. Raises subprocess.TimeoutExpired."""
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"proxyd, process {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._link], [], [], seconds)[0]:
            with self._lock:
                if self.returncode is None:
                    self.returncode = int(os.read(self._link, 64))
        return self.returncode


def launch(arguments: Sequence[str], *, stdout: int, stderr: int) -> Launched:
    """Start `proxyd ARGUMENTS` at the root of the checkout."""
    control = _control()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wish = {"arguments": [*arguments], "environment": {**os.environ}}
    with theirs:
        socket.send_fds(control, [json.dumps(wish).encode()], [theirs.fileno(), stdout, stderr])
    return Launched(ours)


@cache
def _control() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, "-m", "tests.support.launcher", str(number)]
        server = subprocess.Popen(command, cwd=_ROOT, pass_fds=[number], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def _serve(control: socket.socket) -> Sequence[str]:
    """Start what is wished for, until nobody wishes any more; return in each child, with its arguments."""
    waiting: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fileobj)
                    _tell(key.fd, key.data, waiting.pop(key.fd))
                    continue
                message, descriptors, _, _ = socket.recv_fds(control, _MOST, 3)
                if not message:
                    sys.exit()
                pid = os.fork()
                if not pid:
                    for one in waiting.values():
                        one.close()
                    for handle in waiting:
                        os.close(handle)
                    control.close()
                    return _become(json.loads(message), descriptors)
                handle = os.pidfd_open(pid)
                link = socket.socket(fileno=descriptors[0])
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
                socket.send_fds(link, [b"%d" % pid], [handle])
                waiting[handle] = link
                selector.register(handle, selectors.EVENT_READ, pid)


def _tell(handle: int, pid: int, link: socket.socket) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(handle)
    with link:
        try:
            link.send(b"%d" % status)
        except BrokenPipeError:
            """Nobody wants to know it."""


def _become(wish: dict[str, Any], descriptors: Sequence[int]) -> Sequence[str]:
    """Turn into what is wished for, with its arguments left to do."""
    link, *outputs = descriptors
    os.close(link)
    for number, descriptor in enumerate(outputs, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(wish["environment"])
    time.tzset()
    arguments: list[str] = wish["arguments"]
    return arguments


def _main() -> None:
    gc.disable()
    main = import_module("proxyd.cli.main")
    for name in main._COMMANDS:
        import_module(f"proxyd.cli.{name}")
    sys.argv = [str(_ROOT / "proxyd" / "__main__.py"), *_serve(socket.socket(fileno=int(sys.argv[1])))]
    import_module("proxyd.__main__").main()


if __name__ == "__main__":
    _main()
