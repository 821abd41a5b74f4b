"""An upstream may take so long for the head of its answer, and as long as it likes for what moves."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.raw_upstream import Peer
from tests.support.wire import Wire, request
from tests.support.wire_message import Message


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    return {"timeouts": {"response": "1s"}}


_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _silent(peer: Peer) -> None:
    peer.head()
    peer.has_ended(8.0)


def _half_a_head(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nX: y\r\n")
    peer.has_ended(8.0)


def _dripping_head(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 30, pause=0.2)


def _interims_only(peer: Peer) -> None:
    peer.head()
    peer.send(*[b"HTTP/1.1 102 Processing\r\n\r\n"] * 10, pause=0.5)


def _dripping_body(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", *[b"x"] * 8, pause=0.4)


def _dripping_stream(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 8, b"0\r\n\r\n", pause=0.4)


def _silent_body(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nxxxx", b"xxxx", pause=2.5)


def _slow_reader(peer: Peer) -> None:
    peer.request()
    peer.send(_OK)


SCRIPTS = {
    "silent": _silent,
    "half-a-head": _half_a_head,
    "dripping-head": _dripping_head,
    "interims-only": _interims_only,
    "dripping-body": _dripping_body,
    "dripping-stream": _dripping_stream,
    "silent-body": _silent_body,
    "slow-upload": _slow_reader,
}


@pytest.fixture(scope="module")
def answers(wire_of_module: Wire) -> Iterator[dict[str, "Future[tuple[Message, float]]"]]:
    """All at once: each is mostly waiting."""

    def script(peer: Peer) -> None:
        SCRIPTS[peer.pending.split(b" ")[1][1:].decode()](peer)

    def asked(name: str) -> tuple[Message, float]:
        began = time.monotonic()
        with wire_of_module.client() as client:
            if name == "slow-upload":
                client.send(request(b"Content-Length: 8", method=b"POST", target=b"/slow-upload"))
                client.send(*[b"x"] * 8, pause=0.4)
            else:
                client.send(request(target=b"/" + name.encode()))
            return client.final(seconds=9.0), time.monotonic() - began

    wire_of_module.upstream.script = script
    with ThreadPoolExecutor(len(SCRIPTS)) as pool:
        yield {name: pool.submit(asked, name) for name in SCRIPTS}


@pytest.mark.parametrize("name", ["silent", "half-a-head", "dripping-head", "interims-only"])
def test_a_head_that_does_not_come_is_a_504(answers: dict[str, "Future[tuple[Message, float]]"], name: str) -> None:
    answer, seconds = answers[name].result()
    assert answer.status == 504
    assert 0.9 < seconds < 3.5


@pytest.mark.parametrize("name", ["dripping-body", "dripping-stream", "silent-body", "slow-upload"])
def test_what_moves_has_no_time_limit(answers: dict[str, "Future[tuple[Message, float]]"], name: str) -> None:
    answer, seconds = answers[name].result()
    assert (answer.status, answer.body) == (200, b"ok" if name == "slow-upload" else b"x" * 8)
    assert seconds > 2.0


def test_an_upstream_that_took_too_long_is_left(
    wire_of_module: Wire, answers: dict[str, "Future[tuple[Message, float]]"]
) -> None:
    for answer in answers.values():
        answer.result()
    late = [peer for peer in wire_of_module.upstream.peers if b"/silent " in peer.received]
    assert [peer.has_ended() for peer in late] == [True]
