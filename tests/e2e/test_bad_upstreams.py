"""Upstreams that fail in every way, many at a time: each client learns it, and nobody else notices anything."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.cached import get, start_cached, status, tls
from tests.support.daemon import DaemonProcess, eventually
from tests.support.prober import probed
from tests.support.small_server import threaded_server

HOST, OTHER = "host.example.test", "other.example.test"
CLIENTS = 20
KEPT_KIB = 30_000
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


class BadUpstream:
    """Does to each connection what the path of its request says."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listening.getsockname()[1]
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            match peer.recv(65536).split(b" ")[1]:
                case b"/reset":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                case b"/garbage":
                    peer.sendall(bytes(range(256)) * 40)
                case b"/dies":
                    peer.sendall(_HEAD + bytes(500))
                case b"/hangs":
                    self._over.wait()
                case b"/drips":
                    peer.sendall(_HEAD)
                    for _ in range(20):
                        peer.sendall(bytes(50))
                        time.sleep(0.05)
                case _:
                    raise AssertionError("not asked for")


@pytest.fixture
def bad() -> Iterator[BadUpstream]:
    one = BadUpstream()
    yield one
    one.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_each_fault_is_its_client_s_alone(daemon: DaemonProcess, bad: BadUpstream, workers: int) -> None:
    expected = {"/reset": 502, "/garbage": 502, "/hangs": 504, "/dies": 200, "/drips": 200, "/refuses": 502}

    def ask(path: str) -> tuple[str, int, int]:
        host = "refuses.example.test" if path == "/refuses" else HOST
        answer = tls(daemon.https_port, host, get(host, path=path))
        return path, status(answer), len(answer.partition(b"\r\n\r\n")[2])

    with threaded_server("well") as well:
        hosts: dict[str, object] = {
            HOST: {"upstream": bad.port, "timeouts": {"response": "2s"}},
            "refuses.example.test": 1,
            OTHER: well.url,
        }
        start_cached(daemon, hosts, workers=workers)

        def probe() -> None:
            assert status(tls(daemon.https_port, OTHER, get(OTHER))) == 200

        for _ in range(30):
            probe()
        before = daemon.rss_kib()
        with probed(probe), ThreadPoolExecutor(CLIENTS * len(expected)) as clients:
            found = [*clients.map(ask, [*expected] * CLIENTS)]
        assert {(path, code) for path, code, _ in found} == {*expected.items()}
        assert {size for path, _, size in found if path == "/drips"} == {1000}
        assert all(size < 1000 for path, _, size in found if path == "/dies"), (
            "cut, so that nobody takes it for complete"
        )
        eventually(lambda: daemon.rss_kib() - before < KEPT_KIB, what=lambda: f"{before}, {daemon.rss_kib()} KiB")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()
