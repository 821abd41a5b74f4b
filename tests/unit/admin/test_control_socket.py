import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from proxyd.admin.control_address import OTHER_CACHE
from proxyd.admin.control_client import CommandRefused, Unreachable, ask
from proxyd.admin.control_socket import ControlSocket, Refused, Request, Tell


async def echo(request: Request, tell: Tell) -> Mapping[str, Any]:
    match request.command:
        case "refuse":
            raise Refused("not this", status=1)
        case "fail":
            raise ZeroDivisionError
        case "other":
            raise Refused("another cache", status=OTHER_CACHE)
        case "steps":
            await tell({"step": 1})
            await tell({"step": 2})
        case _:
            pass
    return {"command": request.command, "uid": request.uid, **request.arguments}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "control.sock"
    control = ControlSocket(echo)
    control.listen([tmp_path / "missing" / "control.sock", path])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(control.run())
        yield path
        running.cancel()
    assert not path.exists()


async def raw(path: Path, content: bytes, *, end: bool = True) -> dict[str, Any]:
    """Send bytes and return the answer's line as JSON."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(content)
        if end:
            writer.write_eof()
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 10))
        return answer
    finally:
        writer.close()


async def test_an_answer_with_progress_before_it(path: Path) -> None:
    told: list[Mapping[str, Any]] = []
    answer = await asyncio.to_thread(lambda: ask([path], "steps", {"a": 1}, progress=told.append))
    assert answer["a"] == 1
    assert told == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(("command", "status", "says"), [("refuse", 1, "not this"), ("fail", 3, "ZeroDivisionError")])
async def test_refusals_carry_the_exit_status(path: Path, command: str, status: int, says: str) -> None:
    with pytest.raises(CommandRefused, match=says) as caught:
        await asyncio.to_thread(ask, [path], command, {})
    assert caught.value.status == status
    assert (await asyncio.to_thread(ask, [path], "next", {}))["command"] == "next"  # it serves on


async def test_a_daemon_of_another_cache_is_passed_by(path: Path) -> None:
    with pytest.raises(Unreachable, match=r"another cache.*No such file"):
        await asyncio.to_thread(ask, [path, path.with_name("no")], "other", {})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"garbage\n",
        b"[1]\n",
        b'{"command": 7}\n',
        b"\xff\xfe\x00\n",
        b"[" * 60_000 + b"\n",
        b'{"command": "x"',
    ],
)
async def test_garbage_is_refused(path: Path, content: bytes) -> None:
    assert (await raw(path, content))["status"] == 2


async def test_a_request_without_end_is_refused(path: Path) -> None:
    assert "at most 65536 bytes" in (await raw(path, b"x" * 70_000, end=False))["error"]


async def test_many_who_say_nothing_do_not_keep_others_out_for_long(path: Path) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(16)]
    try:
        for one in silent:
            one.connect(str(path))
        assert "try again" in (await raw(path, b'{"command": "x"}\n'))["error"]

        silent[0].setblocking(False)
        told = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(silent[0], 1000), 10)  # they have 5 s
        assert b"no request came" in told
        assert "answer" in await raw(path, b'{"command": "x"}\n')
    finally:
        for one in silent:
            one.close()


async def test_no_place_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    control = ControlSocket(echo)
    control.listen([tmp_path / "no" / "control.sock"])
    await control.run()
    assert "it serves all the same" in caplog.text
