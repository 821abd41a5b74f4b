"""Many clients that do not do their part, too few descriptors, a stop under load: all others are served as ever."""

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.daemon import eventually
from tests.support.prober import probed
from tests.support.raw_client import RawClient
from tests.support.raw_upstream import Peer
from tests.support.wire import OTHER, Wire, request, running

_LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000)


def _script(peer: Peer) -> None:
    one = peer.request()
    if one.target == b"/large":
        peer.send(_LARGE)
    elif one.target == b"/slow":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", *[b"x"] * 10, pause=0.1)
    else:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@contextlib.contextmanager
def _probed(wire: Wire) -> Iterator[None]:
    """Ask for another host ten times a second, on new connections and on one that lasts."""
    asked = request().replace(b"host.example", b"other.example")
    with wire.client(OTHER) as lasting:

        def ask() -> None:
            with wire.client(OTHER) as fresh:
                for client in (lasting, fresh):
                    client.send(asked)
                    assert client.answer(seconds=5.0).status == 200

        with probed(ask):
            yield


def _connected(wire: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.daemon.https_port), timeout=10)


def _half_a_hello(wire: Wire) -> socket.socket:
    sock = _connected(wire)
    sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20))
    return sock


def _reader_of_nothing(wire: Wire) -> RawClient:
    client = wire.client(receive_buffer=4096)
    client.send(request(target=b"/large"))
    return client


def _half_a_head(wire: Wire) -> RawClient:
    client = wire.client()
    client.send(b"GET / HTTP/1.1\r\nHost: h")
    return client


def _half_a_body(wire: Wire) -> RawClient:
    client = wire.client()
    client.send(request(b"Content-Length: 1000", method=b"POST", target=b"/large", body=b"x"))
    return client


@pytest.mark.parametrize(
    ("make", "count", "kib_each"),
    [(_connected, 400, 30), (_half_a_hello, 400, 30), (_half_a_head, 200, 60), (_half_a_body, 100, 120),
     (_reader_of_nothing, 40, 1000)],
)  # fmt: skip
def test_a_crowd_that_stalls_costs_little_and_nobody_else_anything(
    wire: Wire, make: Callable[[Wire], socket.socket | RawClient], count: int, kib_each: int
) -> None:
    wire.upstream.script = _script
    wire.get()
    levels = [wire.daemon.rss_kib()]
    with _probed(wire):
        for _ in range(4):  # what the allocator keeps of one crowd is there for the next
            crowd = [make(wire) for _ in range(count)]
            time.sleep(0.5)
            levels.append(wire.daemon.rss_kib())
            for one in crowd:
                one.close()
            time.sleep(0.3)
    assert levels[1] - levels[0] < count * kib_each
    assert levels[4] - levels[2] < 4096 + (levels[1] - levels[0]) // 2, levels


def _cpu_seconds(wire: Wire) -> float:
    assert wire.daemon.process is not None
    fields = Path(f"/proc/{wire.daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_without_descriptors_accepting_waits_and_does_not_spin(wire: Wire) -> None:
    wire.upstream.script = _script
    wire.get()
    assert wire.daemon.process is not None
    pid = wire.daemon.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    with wire.client() as lasting:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 12, limits[1]))
        try:
            crowd = [_connected(wire) for _ in range(40)]
            time.sleep(0.5)
            began = _cpu_seconds(wire)
            time.sleep(1.5)
            assert _cpu_seconds(wire) - began < 0.75, "it spins"
            lasting.send(request())
            assert lasting.answer().status in (200, 502), "who is connected is heard"
            for one in crowd:
                one.close()
            eventually(lambda: wire.get().status == 200, seconds=8.0)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: wire.get().status == 200, seconds=8.0)


def test_a_stop_under_load_loses_nothing_that_is_in_flight(tmp_path: Path) -> None:
    with running(tmp_path, {}, {}) as wire:
        wire.upstream.script = _script

        def slow() -> bool:
            with wire.client() as client:
                client.send(request(target=b"/slow"))
                started.release()
                one = client.answer()
                assert one.body == b"x" * 10
                assert client.has_ended()
                return True

        started = threading.Semaphore(0)
        with ThreadPoolExecutor(21) as pool, wire.client() as idle:
            idle.send(request())
            assert idle.answer().status == 200
            answers = [pool.submit(slow) for _ in range(20)]
            for _ in answers:
                started.acquire()
            time.sleep(0.3)
            began = time.monotonic()
            stopped = pool.submit(wire.daemon.stop)
            assert idle.has_ended(2.0)
            assert all(one.result() for one in answers)
            assert stopped.result() == 0
            assert time.monotonic() - began < 10.0, "who was told of the end and keeps his is not waited for"
