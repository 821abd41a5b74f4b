"""How long requests take while certificates are issued, and while none are, in turns.

    python -m bench.latency [--hosts 300] [--rounds 3] [--retry-after 1] [--nice 0]

One client on one connection asks an application through the proxy, again and again. The CA is a Pebble at `nice 19`, so
that its processor time is not what is measured. Each round issues its share of the hosts, at most four at once.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.daemon import MeasuredDaemon, load
from bench.issue import TunedPebble
from pebble.server import free_port

_NAME = "served.example.test"
_REQUEST = f"GET / HTTP/1.1\r\nHost: {_NAME}\r\n\r\n".encode()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nanswer"
_PAUSE_SECONDS = 0.005
_FIRST_QUIET_SECONDS = 15.0


class NicePebble(TunedPebble):
    """Pebble that everything else goes before."""

    def _spawn(self, log: str, command: list[str | Path], **environment: str) -> None:
        super()._spawn(log, ["nice", "-n", "39", *command], **environment)


class _Application(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self._transport.write(_ANSWER)


def _serve(port: int) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Application, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def application() -> Iterator[int]:
    """Run the application in a process of its own; gives its port."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port,))
    process.start()
    try:
        yield port
    finally:
        process.terminate()
        process.join()


class Requests:
    """One client on one connection that lasts."""

    def __init__(self, port: int, root: str) -> None:
        context = ssl.create_default_context(cadata=root)
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = context.wrap_socket(raw, server_hostname=_NAME)

    def during(self, what: Callable[[], object]) -> list[float]:
        """Ask again and again until `what` has returned; return the milliseconds that each answer took."""
        thread = threading.Thread(target=what)
        thread.start()
        found = list[float]()
        while thread.is_alive():
            found.append(self._ask())
            time.sleep(_PAUSE_SECONDS)
        thread.join()
        return found

    def _ask(self) -> float:
        began, got = time.monotonic(), b""
        self._connection.sendall(_REQUEST)
        while not got.endswith(b"answer"):
            got += self._connection.recv(4096)
        return (time.monotonic() - began) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What was measured in some seconds."""

    milliseconds: list[float]
    seconds: float
    cpu: float

    def __str__(self) -> str:
        middle, slow = percentiles(self.milliseconds)
        return f"p50 {middle:.2f} ms, p99 {slow:.2f} ms (daemon {self.cpu / self.seconds:.0%} busy)"


def measured(daemon: MeasuredDaemon, client: Requests, what: Callable[[], object]) -> Stretch:
    """Ask until `what` has returned."""
    began, cpu = daemon.age, daemon.cpu
    found = client.during(what)
    return Stretch(milliseconds=found, seconds=daemon.age - began, cpu=daemon.cpu - cpu)


def percentiles(found: list[float]) -> tuple[float, float]:
    """Return the 50th and the 99th."""
    cuts = statistics.quantiles(found, n=100)
    return cuts[49], cuts[98]


def compare(config: Path, document: dict[str, Any], root: str, *, port: int, hosts: int, rounds: int) -> None:
    """Print how requests went, quiet and while hosts are added to the configuration and get their certificates."""
    served, share = document["hosts"], hosts // rounds
    quiet, busy, seconds = list[float](), list[float](), _FIRST_QUIET_SECONDS
    with MeasuredDaemon(config) as daemon:
        daemon.wait_for("STATUS=1 of 1")
        client = Requests(port, root)
        for number in range(rounds):
            still = measured(daemon, client, partial(time.sleep, seconds))
            served |= {f"host{number}-{one}.example.test": served[_NAME] for one in range(share)}
            config.write_text(json.dumps(document))
            daemon.reload()
            issuing = measured(daemon, client, partial(daemon.wait_for, f"STATUS={len(served)} of {len(served)}"))
            print(f"quiet: {still}; {share / issuing.seconds:.1f} certificates/s: {issuing}", flush=True)
            quiet, busy, seconds = quiet + still.milliseconds, busy + issuing.milliseconds, issuing.seconds
    ratios = [slower / usual for usual, slower in zip(percentiles(quiet), percentiles(busy), strict=True)]
    print(f"p50 x {ratios[0]:.2f}, p99 x {ratios[1]:.2f}; {load()}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--retry-after", type=int, default=1, help="seconds that Pebble asks for between two looks")
    parser.add_argument("--nice", type=int, default=0, help="of all but the CA; below 0 where others use the machine")
    chosen = parser.parse_args()
    os.setpriority(os.PRIO_PROCESS, 0, chosen.nice)
    NicePebble.retry_after = chosen.retry_after
    https, http = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory() as name,
        application() as upstream,
        NicePebble(Path(name) / "pebble", http_port=http) as pebble,
    ):
        config = Path(name) / "config.yaml"
        document = {
            "listen": {"https": f"127.0.0.1:{https}", "http": f"127.0.0.1:{http}"},
            "cache": f"{name}/cache",
            "acme": {"server": pebble.url, "ca_bundle": str(pebble.bundle), "challenges": ["http-01"]},
            "hosts": {_NAME: f"http://127.0.0.1:{upstream}"},
        }
        config.write_text(json.dumps(document))
        print(f"{chosen.hosts} hosts, Retry-After {chosen.retry_after} s, nice {chosen.nice}, {load()}")
        root = pebble.root().decode()
        compare(config, document, root, port=https, hosts=chosen.hosts, rounds=chosen.rounds)


if __name__ == "__main__":
    main()
