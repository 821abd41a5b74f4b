"""What the service manager is told."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxyd.daemon.systemd import StatusLine, notify


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


async def test_a_status_that_changes_often_is_told_at_once_and_then_as_it_is_at_last(manager: socket.socket) -> None:
    ready, loop = set[int](), asyncio.get_running_loop()
    line = StatusLine(lambda: f"{len(ready)} of 300", notify, seconds=0.2)
    began = loop.time()
    line.changed()
    assert await loop.sock_recv(manager, 100) == b"STATUS=0 of 300"
    for host in range(300):
        ready.add(host)
        line.changed()
        await asyncio.sleep(0)
    assert await loop.sock_recv(manager, 100) == b"STATUS=300 of 300"
    assert loop.time() - began >= 0.2
    with pytest.raises(BlockingIOError):
        manager.recv(100)
