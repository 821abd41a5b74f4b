"""What the service manager is told."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxyd.daemon.systemd import StatusLine, Watchdog, notify


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


async def test_a_status_that_changes_often_is_told_at_once_and_then_as_it_is_at_last(manager: socket.socket) -> None:
    ready, loop = set[int](), asyncio.get_running_loop()

    def look() -> Callable[[], str]:
        count = len(ready)
        return lambda: f"{count} of 300"

    line = StatusLine(look, notify, first="", seconds=0.2)
    async with asyncio.TaskGroup() as tasks:
        began = loop.time()
        running = tasks.create_task(line.run())
        assert await loop.sock_recv(manager, 100) == b"STATUS=0 of 300"
        for host in range(300):
            ready.add(host)
            line.changed()
            await asyncio.sleep(0)
        assert await loop.sock_recv(manager, 100) == b"STATUS=300 of 300"
        assert loop.time() - began >= 0.2
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        running.cancel()


async def test_what_is_above_is_said_at_once_and_told_with_the_next_look(manager: socket.socket) -> None:
    loop, above = asyncio.get_running_loop(), [""]
    line = StatusLine(lambda: lambda: "1 host ok", notify, first="", above=lambda: above[0], seconds=0.01)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(line.run())
        assert await loop.sock_recv(manager, 100) == b"STATUS=1 host ok"
        above[0] = "refused"
        assert line.text == "refused; 1 host ok"
        line.changed()
        assert await loop.sock_recv(manager, 100) == b"STATUS=refused; 1 host ok"
        running.cancel()


def test_signs_of_life_are_sent_three_times_in_the_limit_and_only_by_who_is_watched(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    watched = Watchdog(notify)
    monkeypatch.setenv("WATCHDOG_PID", "1")
    for second in range(30):
        watched.alive(float(second))
        Watchdog(notify).alive(float(second))
    assert _received(manager) == [b"WATCHDOG=1"] * 3


def _received(manager: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(manager.recv(100))
    return found
