"""Runs a program of the operator: no shell, none of our secrets, an end to its time."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: What programs expect; all else that we were started with may be secret.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_OUTPUT = 2000  # bytes, of its end
_GRACE_SECONDS = 2.0  # between TERM and KILL
_LAST_WORDS_SECONDS = 0.2  # what it left running may keep the pipe open


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a program ended. `trouble`: None when all is well, else why not, in a line."""

    trouble: str | None
    output: str = ""
    is_timed_out: bool = False


async def run_program(
    command: Sequence[str], *, environment: Mapping[str, str], seconds: float, stdin: bytes = b""
) -> Run:
    """Run it in a process group of its own, which is killed after `seconds`, or when we are cancelled.

    Never raises for what the program does.
    """
    source = os.memfd_create("stdin", os.MFD_CLOEXEC)  # nobody has to write while it runs
    try:
        os.write(source, stdin)
        os.lseek(source, 0, os.SEEK_SET)
        with _Output() as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=source,
                    stdout=output.sink,
                    stderr=output.sink,
                    env={"PATH": _PATH, **_passed_on(), **environment},
                    cwd="/",
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                return Run(trouble=f"{command[0]} cannot be started: {reason}")
            output.close_sink()
            return await _ended(process, command[0], output, seconds)
    finally:
        os.close(source)


async def _ended(process: asyncio.subprocess.Process, name: str, output: "_Output", seconds: float) -> Run:
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        await _kill(process)
        trouble = f"{name} had not ended after {seconds:g} s and was killed"
        return Run(trouble=output.added_to(trouble), output=output.text, is_timed_out=True)
    except asyncio.CancelledError:
        await asyncio.shield(_kill(process))
        raise
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            await output.ended.wait()
    if status == 0:
        return Run(trouble=None, output=output.text)
    how = f"ended with status {status}" if status > 0 else f"was killed by {_signal(-status)}"
    return Run(trouble=output.added_to(f"{name} {how}"), output=output.text)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
    with contextlib.suppress(ProcessLookupError):  # also those that it has left behind
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _passed_on() -> Mapping[str, str]:
    return {name: value for name in _PASSED_ON if (value := os.environ.get(name))}


class _Output:
    """The end of what a program says, however much that is. A pipe, read by the event loop."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._bytes = b""
        self._pipe, self.sink = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.sink, True)
        self._is_sink_open = True
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> "_Output":
        self._loop.add_reader(self._pipe, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        self.close_sink()

    def close_sink(self) -> None:
        """Leave writing to the program."""
        if self._is_sink_open:
            self._is_sink_open = False
            os.close(self.sink)

    @property
    def text(self) -> str:
        """Return its last lines, printable."""
        return "\n".join(self._lines())

    def added_to(self, trouble: str) -> str:
        """Return the trouble with the last thing that the program said."""
        *_, last = ("", *self._lines())
        return f"{trouble}: {last[:300]}" if last else trouble

    def _lines(self) -> Iterator[str]:
        for line in self._bytes.decode(errors="replace").splitlines():
            if shown := "".join(char for char in line if char.isprintable()).strip():
                yield shown

    def _read(self) -> None:
        try:
            read = os.read(self._pipe, 65536)
        except BlockingIOError:
            return
        self._bytes = (self._bytes + read)[-_MOST_OUTPUT:]
        if not read:
            self._loop.remove_reader(self._pipe)
            self.ended.set()
