"""Real programs that fail, hang and talk too much."""

import asyncio
import os
from pathlib import Path

import pytest

from proxyd.admin.program import run_program
from tests.support.daemon import eventually


async def run(script: str, *, seconds: float = 20.0, stdin: bytes = b"") -> tuple[str | None, str]:
    done = await run_program(["/bin/sh", "-c", script], environment={"MINE": "yes"}, seconds=seconds, stdin=stdin)
    return done.trouble, done.output


async def test_it_gets_its_input_its_environment_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    trouble, output = await run("cat; echo; env; ls /proc/self/fd | wc -l; pwd", stdin=b'{"a": 1}')
    assert trouble is None
    lines = output.splitlines()
    assert lines[0] == '{"a": 1}'
    assert "MINE=yes" in lines
    assert "SECRET_TOKEN" not in output
    assert "NOTIFY_SOCKET" not in output
    assert lines[-2:] == ["4", "/"]  # three, and the one that ls reads


async def test_how_it_failed_is_said_with_its_last_words() -> None:
    assert await run("echo first; echo no such group >&2; exit 3") == (
        "/bin/sh ended with status 3: no such group",
        "first\nno such group",
    )
    assert (await run("kill -9 $$"))[0] == "/bin/sh was killed by SIGKILL"
    gone = await run_program(["/no/such/program"], environment={}, seconds=5)
    assert gone.trouble == "/no/such/program cannot be started: No such file or directory"


async def test_what_it_leaves_running_is_not_waited_for() -> None:
    async with asyncio.timeout(10):
        trouble, output = await run("echo started; sleep 60 & echo $! ")
    assert trouble is None
    os.kill(int(output.splitlines()[-1]), 9)


async def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 600 & echo $! $$ > {pids}; while :; do sleep 600; done"
    done = await run_program(["/bin/sh", "-c", script], environment={}, seconds=0.5)
    assert done.is_timed_out
    assert done.trouble == "/bin/sh had not ended after 0.5 s and was killed"
    eventually(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


async def test_one_that_hangs_is_killed_when_we_stop(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    task = asyncio.ensure_future(run(f"echo $$ > {pids}.new; mv {pids}.new {pids}; sleep 600"))
    while not pids.exists():  # noqa: ASYNC110 - the program makes it
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(int(pids.read_text()))


async def test_endless_talk_costs_no_memory() -> None:
    trouble, output = await run("head -c 50000000 /dev/zero | tr '\\0' 'x'; echo; echo end")
    assert trouble is None
    assert output.endswith("end")
    assert len(output) <= 2000


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
