"""A connection to an upstream that is cut off."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from proxyd.core.response_scanner import ResponseHead
from proxyd.upstream.connection import UpstreamConnection, UpstreamError


class Heard:
    """Implements ResponseSink."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.over = asyncio.get_running_loop().create_future()

    def interim(self, head: ResponseHead) -> None: ...
    def switched(self, head: ResponseHead) -> None: ...
    def flush(self) -> None: ...
    def upload_paused(self, paused: bool) -> None: ...
    def response(self, head: ResponseHead, body: int) -> None:
        self.told.append(head.status)

    def data(self, data: bytes) -> None:
        self.told.append(data)

    def end(self, trailers: bytes) -> None:
        self.over.set_result(None)

    def failed(self, error: UpstreamError) -> None:
        self.over.set_exception(error)


async def told_by(answer: bytes) -> list[object]:
    """The upstream answers and closes while we write, and we have not read when our writing meets its reset."""
    closed = threading.Event()

    def serve() -> None:
        sock, _ = server.accept()
        sock.recv(10)
        sock.sendall(answer)
        sock.close()  # with unread bytes: a reset
        closed.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        connection = UpstreamConnection("an upstream")
        await asyncio.get_running_loop().create_connection(lambda: connection, *server.getsockname())
        heard = Heard()
        connection.pause()
        connection.begin(heard, b"POST / HTTP/1.1\r\n\r\n", is_head=False, has_body=True)
        connection.write(b"x" * 200_000)
        await asyncio.to_thread(closed.wait, 5)
        while not heard.over.done():
            connection.write(b"y")
            await asyncio.sleep(0.01)
        await heard.over
        return heard.told


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_answer_before_a_reset_is_not_lost(run: Callable[..., Any]) -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    assert run(told_by(answer)) == [403, b"no"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_part_of_one_is_no_answer(run: Callable[..., Any]) -> None:
    with pytest.raises(UpstreamError, match="before its response was complete"):
        run(told_by(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno"))
