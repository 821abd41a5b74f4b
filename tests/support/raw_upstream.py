"""An upstream that records every byte and answers whatever a script says, well-formed or not."""

import contextlib
import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from itertools import count

from tests.support import wire_message
from tests.support.wire_message import Incomplete, Message

_SECONDS = 10.0


class Ended(Exception):
    """The connection ended before what was awaited came."""


class Peer:
    """One connection, from the upstream's side. `received`: every byte that came, in order."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self.sent = 0
        self.how_it_ended = ""  # "", "end", "reset", "closed"
        self._received = bytearray()
        self._taken = 0
        self._sock = sock
        self._lock = threading.Lock()

    @property
    def received(self) -> bytes:
        """Return all that came until now, also what no script has read."""
        while self._fill():
            pass
        return bytes(self._received)

    @property
    def pending(self) -> bytes:
        """Return what came and no script has read."""
        return self.received[self._taken :]

    def head(self) -> bytes:
        """Return the next head, with its empty line."""
        return self.until(b"\r\n\r\n")

    def until(self, end: bytes) -> bytes:
        """Return the bytes up to and with `end`. Raises Ended."""
        self._wait(lambda: end in self._unread(), _SECONDS)
        return self._take(self._unread().index(end) + len(end))

    def exactly(self, size: int) -> bytes:
        """Return so many bytes. Raises Ended."""
        self._wait(lambda: len(self._unread()) >= size, _SECONDS)
        return self._take(size)

    def some(self, most: int) -> int:
        """Read what is there, at most so many bytes, and return how many: a slow reader."""
        with self._lock:
            try:
                data = self._sock.recv(most)
            except BlockingIOError:
                return 0
            self._received += data
            return len(data)

    def request(self) -> Message:
        """Return the next request, whole. Raises Ended; Ambiguous when two readers could disagree about it."""
        found: list[Message] = []

        def complete() -> bool:
            with contextlib.suppress(Incomplete):
                message, rest = wire_message.request(self._unread())
                found.append(message)
                self._taken = len(self._received) - len(rest)
            return bool(found)

        self._wait(complete, _SECONDS)
        return found[0]

    def send(self, *parts: bytes, pause: float = 0.0) -> None:
        """Send the parts, each for itself. Raises Ended when the other side is gone."""
        for part in parts:
            view = memoryview(part)
            while view:
                try:
                    size = self._sock.send(view)
                except BlockingIOError:
                    select.select([], [self._sock], [], _SECONDS)
                except OSError:
                    raise Ended from None
                else:
                    self.sent += size
                    view = view[size:]
            if pause:
                time.sleep(pause)

    def has_ended(self, seconds: float = 1.0) -> bool:
        """Read on, and return whether the other side ends within the time."""
        with contextlib.suppress(Ended, TimeoutError):
            self._wait(lambda: False, seconds)
        return bool(self.how_it_ended)

    def is_idle(self, seconds: float) -> bool:
        """Return whether nothing comes for a time, neither bytes nor the end."""
        before = len(self.received)
        with contextlib.suppress(Ended, TimeoutError):
            self._wait(lambda: len(self._received) > before, seconds)
        return len(self._received) == before and not self.how_it_ended

    def end(self) -> None:
        """Send nothing more, and read on."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.how_it_ended = self.how_it_ended or "closed"
        self._sock.close()

    def reset(self) -> None:
        """End with an RST."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def wait_for_bytes(self) -> None:
        """Wait, without a deadline, for a byte that no script has read. Raises Ended."""
        self._wait(lambda: bool(self._unread()), 3600.0)

    def _unread(self) -> bytes:
        return bytes(memoryview(self._received)[self._taken :])

    def _take(self, size: int) -> bytes:
        begin, self._taken = self._taken, self._taken + size
        return bytes(self._received[begin : self._taken])

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if self._fill():
                continue
            if self.how_it_ended:
                raise Ended(f"{self.how_it_ended} after {bytes(self._received[-300:])!r}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s; received {bytes(self._received[-300:])!r}")
            with contextlib.suppress(OSError, ValueError):
                select.select([self._sock], [], [], 0.01)  # short: another thread may have read what it waits for

    def _fill(self) -> bool:
        """Read what is there; return whether there was something."""
        with self._lock:
            if self.how_it_ended:
                return False
            try:
                data = self._sock.recv(1 << 18)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                self.how_it_ended = "reset"
                return False
            except OSError:
                self.how_it_ended = "closed"
                return False
            self._received += data
            if not data:
                self.how_it_ended = "end"
            return bool(data)


Script = Callable[[Peer], None]


def echo(peer: Peer) -> None:
    """Answer with the request's method, target and body."""
    one = peer.request()
    body = b"%b %b %b" % (one.method, one.target, one.body)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), b"" if one.method == b"HEAD" else body))


def answer(*parts: bytes, pause: float = 0.0, end: str = "") -> Script:
    """Return a script that reads a request and sends bytes; `end`: "close" or "reset" afterwards, else the next one."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(*parts, pause=pause)
        if end == "close":
            peer.close()
        elif end == "reset":
            peer.reset()

    return script


class RawUpstream:
    """Listens on a free port of 127.0.0.1. Each request is for the `script` of its moment; None: for `accept`."""

    def __init__(self) -> None:
        self.script: Script | None = echo
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self._numbers = count(1)
        self._unclaimed: queue.Queue[Peer] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def accept(self, seconds: float = _SECONDS) -> Peer:
        """Return the next connection, when there is no script: the test reads and answers itself."""
        try:
            return self._unclaimed.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no connection within {seconds} s") from None

    def narrow(self, size: int) -> None:
        """Give connections from now on a receive buffer of so many bytes."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def received(self) -> list[bytes]:
        """Return what came on each connection that carried bytes, oldest first."""
        return [data for peer in list(self.peers) if (data := peer.received)]

    def requests(self) -> list[Message]:
        """Return every request, by connection. Raises Ambiguous when a connection carried anything else."""
        found = []
        for data in self.received():
            whole, rest = wire_message.requests(data)
            assert not rest, f"the upstream received {rest!r} after {len(whole)} requests"
            found += whole
        return found

    def targets(self) -> list[bytes]:
        return [one.target for one in self.requests()]

    def reset(self) -> None:
        """Forget everything, and end each connection so that the other side is sure to know of it."""
        for peer in self.peers:
            peer.end()
        for peer in self.peers:
            peer.has_ended(1.0)
            peer.close()
        for thread in self._threads:
            thread.join(_SECONDS)
        while not self._unclaimed.empty():
            self._unclaimed.get_nowait()
        self.peers, self._threads, self.failures, self.script = [], [], [], echo

    def __enter__(self) -> "RawUpstream":
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._socket.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            peer = Peer(sock, next(self._numbers))
            self.peers.append(peer)
            if self.script is None:
                self._unclaimed.put(peer)
                continue
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, peer: Peer) -> None:
        try:
            while not peer.how_it_ended:
                peer.wait_for_bytes()
                assert self.script is not None
                self.script(peer)
        except Ended:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the fixture when the test ends
            self.failures.append(error)
        peer.close()
