"""Who does not do its part ends soon, whichever part it is; who moves, however slowly, does not."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.raw_client import RawClient
from tests.support.raw_upstream import Ended, Peer
from tests.support.wire import Wire, request

Stories = dict[str, "Future[float]"]
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
_UPGRADE = (b"Connection: upgrade", b"Upgrade: x")


@pytest.fixture(scope="module")
def host_options() -> dict[str, Any]:
    return {"timeouts": {"header": "1s", "idle": "1s", "keepalive": "1s", "response": "10s", "tunnel": "1s"}}


def _stalls_in_head(client: RawClient) -> None:
    client.send(b"GET /none HTTP/1.1\r\nHost: ho")


def _drips_head(client: RawClient) -> None:
    client.send(*(bytes([byte]) for byte in b"GET /none HTTP/1.1\r\nHost: host.example"), pause=0.15)


def _says_nothing(client: RawClient) -> None:
    pass


def _stalls_in_second_head(client: RawClient) -> None:
    client.send(request())
    assert client.final().status == 200
    client.send(b"GET /none")


def _is_idle_after_an_answer(client: RawClient) -> None:
    client.send(request())
    assert client.final().status == 200


def _stalls_in_body(client: RawClient) -> None:
    client.send(request(b"Content-Length: 10", method=b"POST", target=b"/stalled", body=b"x"))


def _stalls_in_chunk(client: RawClient) -> None:
    client.send(request(b"Transfer-Encoding: chunked", method=b"POST", target=b"/stalled", body=b"5\r\nhe"))


def _sends_no_body_after_expect(client: RawClient) -> None:
    client.send(request(b"Content-Length: 10", b"Expect: 100-continue", method=b"POST", target=b"/stalled"))


def _stalled_by_the_upstream(client: RawClient) -> None:
    client.send(request(target=b"/half-a-body"))


def _stalls_in_tunnel(client: RawClient) -> None:
    client.send(request(*_UPGRADE, target=b"/tunnel"))
    assert client.answer().status == 101


STALLS: dict[str, Callable[[RawClient], None]] = {
    "in a head": _stalls_in_head,
    "drips a head": _drips_head,
    "says nothing": _says_nothing,
    "in a second head": _stalls_in_second_head,
    "idle after an answer": _is_idle_after_an_answer,
    "in a body": _stalls_in_body,
    "in a chunk": _stalls_in_chunk,
    "no body after Expect": _sends_no_body_after_expect,
    "the upstream in its body": _stalled_by_the_upstream,
    "in a tunnel": _stalls_in_tunnel,
}


def _script(peer: Peer) -> None:
    target = peer.pending.split(b" ")[1]
    if target == b"/stalled":
        peer.head()
        peer.has_ended(9.0)
    elif target == b"/half-a-body":
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        peer.has_ended(9.0)
    elif target == b"/tunnel":
        peer.head()
        peer.send(_SWITCH)
        peer.has_ended(9.0)
    elif target == b"/moving-tunnel":
        peer.head()
        peer.send(_SWITCH)
        for _ in range(10):
            peer.send(peer.exactly(1))
    elif target == b"/large":
        peer.head()
        with contextlib.suppress(Ended):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n", *[bytes(1 << 20)] * 190)
    elif target == b"/begun":
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        peer.exactly(10)
        peer.send(b"ok")
    elif target == b"/moving":
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", *[b"x"] * 10, pause=0.3)
    else:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def stories(wire_of_module: Wire) -> Iterator[Stories]:
    """All at once: each is mostly waiting. The result: seconds until the end, from the last that it did."""

    def story(act: Callable[[RawClient], None]) -> float:
        with wire_of_module.client() as client:
            act(client)
            began = time.monotonic()
            client.rest(seconds=9.0)
            return time.monotonic() - began

    def does_not_read() -> float:
        with wire_of_module.client(receive_buffer=65536) as client:
            client.send(request(target=b"/large"))
            began = time.monotonic()
            peer = _peer(wire_of_module, b"/large")
            while not peer.has_ended(0.05) and time.monotonic() - began < 9:
                pass
            return time.monotonic() - began

    wire_of_module.upstream.script = _script
    with ThreadPoolExecutor(len(STALLS) + 1) as pool:
        found: Stories = {name: pool.submit(story, act) for name, act in STALLS.items()}
        found["does not read"] = pool.submit(does_not_read)
        yield found


def _peer(wire: Wire, target: bytes) -> Peer:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for peer in list(wire.upstream.peers):
            if target + b" " in peer.received:
                return peer
        time.sleep(0.01)
    raise TimeoutError(target)


@pytest.mark.parametrize("name", [*STALLS, "does not read"])
def test_who_stalls_ends(stories: Stories, name: str) -> None:
    seconds = stories[name].result()
    assert seconds < 6.5  # 408, and a while of lingering
    assert seconds > 0.5 or name == "drips a head"


def test_the_upstream_of_who_stalls_ends(wire_of_module: Wire, stories: Stories) -> None:
    for one in stories.values():
        one.result()
    for target in (b"/stalled", b"/half-a-body", b"/tunnel", b"/large"):
        peers = [peer for peer in wire_of_module.upstream.peers if target + b" " in peer.received]
        assert peers
        assert all(peer.has_ended() for peer in peers), target


def test_a_stalled_head_is_told_408_and_a_stalled_body_too(wire: Wire) -> None:
    for sent in (b"GET / HTTP/1.1\r\nHost", request(b"Content-Length: 10", method=b"POST", body=b"x")):
        wire.upstream.script = _script
        with wire.client() as client:
            client.send(sent)
            assert client.answer(seconds=4.0).status == 408


def test_who_moves_does_not_end(wire: Wire) -> None:
    wire.upstream.script = _script

    def upload() -> None:
        with wire.client() as client:
            client.send(request(b"Content-Length: 10", method=b"POST", target=b"/up"))
            client.send(*[b"x"] * 10, pause=0.3)
            assert client.final().status == 200

    def upload_under_an_answer() -> None:
        with wire.client() as client:
            client.send(request(b"Content-Length: 10", method=b"POST", target=b"/begun"))
            client.send(*[b"x"] * 10, pause=0.3)
            assert client.final().body == b"ok"

    def download() -> None:
        with wire.client() as client:
            client.send(request(target=b"/moving"))
            assert client.final().body == b"x" * 10

    def tunnel() -> None:
        with wire.client() as client:
            client.send(request(*_UPGRADE, target=b"/moving-tunnel"))
            assert client.answer().status == 101
            for _ in range(10):
                client.send(b"x")
                assert client.exactly(1) == b"x"
                time.sleep(0.3)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(act) for act in (upload, upload_under_an_answer, download, tunnel)]:
            done.result()


def test_a_client_that_takes_its_answer_slowly_does_not_end(wire: Wire) -> None:
    """What the kernel holds for it goes before anything of ours does."""
    wire.upstream.script = _script
    with wire.client(receive_buffer=16384) as client:
        client.send(request(target=b"/large"))
        peer = _peer(wire, b"/large")
        end = time.monotonic() + 6.0
        while time.monotonic() < end:
            client.socket.recv(16384)
            assert not peer.has_ended(0.1)
    assert peer.has_ended()


def test_an_upstream_that_does_not_take_a_body_is_a_504(wire: Wire) -> None:
    wire.upstream.script = None
    with wire.client() as client:
        began = time.monotonic()
        client.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            client.send(request(b"Content-Length: %d" % (1 << 30), method=b"POST"), *[bytes(1 << 20)] * 100)
        assert client.answer(seconds=6.0).status == 504
        assert 0.9 < time.monotonic() - began < 6.0


def test_an_upstream_that_takes_a_body_slowly_is_waited_for(wire: Wire) -> None:
    """It moves although our buffers do not: the kernel's are larger."""
    size = 4 << 20
    wire.upstream.script = None
    wire.upstream.narrow(16384)
    with wire.client() as client, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(client.send, request(b"Content-Length: %d" % size, method=b"POST", body=bytes(size)))
        peer = wire.upstream.accept()
        taken, began = 0, time.monotonic()
        while time.monotonic() - began < 6.0:
            taken += peer.some(16384)
            time.sleep(0.1)
        assert 0 < taken < size
        while taken < size:
            taken += peer.some(1 << 18)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.answer().status == 200
        sending.result()
