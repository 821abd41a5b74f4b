"""How long requests take while certificates are issued, beside quiet stretches and a control, in turns.

    python -m bench.latency [--hosts 300] [--rounds 3] [--rate 100] [--retry-after 1] [--real-time]

Requests begin at fixed times, whether the one before was answered or not, on one connection that lasts, to an
application through the proxy; each counts from the time when it was due. Five times a second another client makes a new
connection for one request. The CA is a Pebble at nice 19, so that its processor time is not what is measured. What it
costs all the same shows in the control: a program that has nothing to do with proxyd takes as much of the processors,
also at nice 19. With `--real-time` all but these two go before whatever else runs on the machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from bench.daemon import MeasuredDaemon, load, processor_seconds
from bench.issue import TunedPebble
from pebble.server import free_port

_NAME = "served.example.test"
_REQUEST = f"GET / HTTP/1.1\r\nHost: {_NAME}\r\n\r\n".encode()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nanswer"
_FIRST_QUIET_SECONDS = 15.0
_CONNECTIONS_PER_SECOND = 5
_BURN = """
import sys, time
share = float(sys.argv[1])
while True:
    end = time.monotonic() + share / 100
    while time.monotonic() < end:
        pass
    time.sleep((1 - share) / 100)
"""
#: Behind everything else, also where that has real-time priority.
_LAST = ("chrt", "--other", "0", "nice", "-n", "39")
_ISSUED = re.compile(r"^(\S+Z) .* certificate issued ", re.MULTILINE)


class NicePebble(TunedPebble):
    """Pebble that everything else goes before."""

    def _spawn(self, log: str, command: list[str | Path], **environment: str) -> None:
        super()._spawn(log, [*_LAST, *command], **environment)

    @property
    def cpu(self) -> float:
        """Return the seconds of processor time used so far."""
        return sum(processor_seconds(process.pid) for process in self._processes)


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


@dataclass(frozen=True, slots=True)
class Answers:
    """The milliseconds that answers took, beside when they were due (seconds of the epoch)."""

    due: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, due: float, milliseconds: float) -> None:
        """Take one."""
        self.due.append(due)
        self.milliseconds.append(milliseconds)

    def between(self, begin: float, end: float) -> list[float]:
        """Return those that were due then."""
        return [took for due, took in zip(self.due, self.milliseconds, strict=True) if begin <= due <= end]


class Clients:
    """One client on a connection that lasts, and one that makes a new connection for each request."""

    def __init__(self, port: int, root: str, *, rate: float) -> None:
        self._port = port
        self._context = ssl.create_default_context(cadata=root)
        self._rate = rate
        self._lasting = self._connect()

    def during(self, what: Callable[[], object]) -> tuple[Answers, Answers]:
        """Ask until `what` has returned; return what the lasting connection gave, and what new ones did."""
        ended, lasting, fresh = threading.Event(), Answers(), Answers()
        threads = [
            threading.Thread(target=_at_rate, args=(self._rate, partial(_ask, self._lasting), lasting, ended)),
            threading.Thread(target=_at_rate, args=(_CONNECTIONS_PER_SECOND, self._ask_anew, fresh, ended)),
        ]
        for thread in threads:
            thread.start()
        try:
            what()
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        return lasting, fresh

    def _connect(self) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(raw, server_hostname=_NAME)

    def _ask_anew(self) -> None:
        with self._connect() as connection:
            _ask(connection)


def _ask(connection: ssl.SSLSocket) -> None:
    got = b""
    connection.sendall(_REQUEST)
    while not got.endswith(b"answer"):
        got += connection.recv(4096)


def _at_rate(rate: float, ask: Callable[[], None], found: Answers, ended: threading.Event) -> None:
    offset, due = time.time() - time.monotonic(), time.monotonic()
    while not ended.is_set():
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        ask()
        found.add(due + offset, (time.monotonic() - due) * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What was measured in some seconds."""

    lasting: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        (middle, slow), (middle_new, slow_new) = percentiles(self.lasting), percentiles(self.fresh)
        return f"p50 {middle:.2f}, p99 {slow:.2f} ms; new connections p50 {middle_new:.1f}, p95 {slow_new:.1f} ms"

    def __add__(self, other: Self) -> "Stretch":
        return Stretch(lasting=self.lasting + other.lasting, fresh=self.fresh + other.fresh)

    def against(self, usual: "Stretch") -> str:
        """Return how many times of the usual it is."""
        pairs = [
            slower / before
            for mine, its in ((self.lasting, usual.lasting), (self.fresh, usual.fresh))
            for before, slower in zip(percentiles(its), percentiles(mine), strict=True)
        ]
        return "p50 x {:.2f}, p99 x {:.2f}; new connections p50 x {:.2f}, p95 x {:.2f}".format(*pairs)


def percentiles(found: list[float]) -> tuple[float, float]:
    """Return the 50th and the 99th, of fewer than a thousand the 95th."""
    cuts = statistics.quantiles(found, n=100)
    return cuts[49], cuts[98 if len(found) >= 1000 else 94]


@contextmanager
def burning(share: float) -> Iterator[None]:
    """Take a share of one processor at nice 19."""
    process = subprocess.Popen([*_LAST, sys.executable, "-c", _BURN, f"{share:.2f}"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


class Comparison:
    """Adds hosts to the configuration of a daemon in rounds, and asks through it all the time."""

    def __init__(self, daemon: MeasuredDaemon, clients: Clients, pebble: NicePebble) -> None:
        self._daemon = daemon
        self._clients = clients
        self._pebble = pebble
        self.found = dict.fromkeys(("quiet", "control", "issuing"), Stretch())

    def quiet(self, seconds: float) -> None:
        """Measure with nothing else to do."""
        self._tell("quiet", partial(time.sleep, seconds))

    def control(self, seconds: float, share: float) -> None:
        """Measure beside a program that takes as much of a processor as the CA did."""
        with burning(share):
            self._tell("control", partial(time.sleep, seconds))

    def issuing(self, hosts: int, wait: Callable[[], None]) -> tuple[float, float]:
        """Measure from the first certificate to the last; return these seconds and the CA's share of a processor."""
        pebble, before = self._pebble.cpu, time.monotonic()
        issued = len(_ISSUED.findall(self._daemon.log.read_text()))
        cpu = self._daemon.cpu
        lasting, fresh = self._clients.during(wait)
        whole = time.monotonic() - before
        times = [datetime.fromisoformat(one).timestamp() for one in _ISSUED.findall(self._daemon.log.read_text())]
        begin, end = times[issued], times[-1]
        stretch = Stretch(lasting=lasting.between(begin, end), fresh=fresh.between(begin, end))
        self.found["issuing"] += stretch
        share = (self._pebble.cpu - pebble) / whole
        busy = f"daemon {(self._daemon.cpu - cpu) / whole:.0%} busy, CA {share:.0%}"
        print(f"{hosts / (end - begin):.1f} certificates/s ({busy}): {stretch}", flush=True)
        return end - begin, share

    def _tell(self, name: str, what: Callable[[], object]) -> None:
        began, cpu = time.monotonic(), self._daemon.cpu
        lasting, fresh = self._clients.during(what)
        stretch = Stretch(lasting=lasting.milliseconds, fresh=fresh.milliseconds)
        self.found[name] += stretch
        busy = (self._daemon.cpu - cpu) / (time.monotonic() - began)
        print(f"{name} (daemon {busy:.0%} busy): {stretch}", flush=True)


def compare(
    config: Path, document: dict[str, Any], comparison: Comparison, daemon: MeasuredDaemon, rounds: int, hosts: int
) -> None:
    """Print how requests went in each round, and in all."""
    served, share, seconds = document["hosts"], hosts // rounds, _FIRST_QUIET_SECONDS
    for number in range(rounds):
        comparison.quiet(seconds)
        served |= {f"host{number}-{one}.example.test": served[_NAME] for one in range(share)}
        config.write_text(json.dumps(document))
        daemon.reload()
        seconds, of_pebble = comparison.issuing(
            share, partial(daemon.wait_for, f"STATUS={len(served)} of {len(served)}")
        )
        comparison.control(seconds, of_pebble)
    for name in ("control", "issuing"):
        print(f"{name}: {comparison.found[name].against(comparison.found['quiet'])}")
    print(load())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100, help="requests a second")
    parser.add_argument("--retry-after", type=int, default=1, help="seconds that Pebble asks for between two looks")
    parser.add_argument("--real-time", action="store_true", help="where others use the machine")
    chosen = parser.parse_args()
    if chosen.real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
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
        how = "real time" if chosen.real_time else "as usual"
        print(f"{chosen.hosts} hosts, {chosen.rate:g} requests/s, {how}, Retry-After {chosen.retry_after} s, {load()}")
        with MeasuredDaemon(config) as daemon:
            daemon.wait_for("STATUS=1 of 1")
            clients = Clients(https, pebble.root().decode(), rate=chosen.rate)
            compare(config, document, Comparison(daemon, clients, pebble), daemon, chosen.rounds, chosen.hosts)


if __name__ == "__main__":
    main()
