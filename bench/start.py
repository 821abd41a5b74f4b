"""How long until a daemon with N hosts and a full cache serves, what it needs of memory, and what a reload stalls.

    python -m bench.start [--hosts 10000] [--rounds 3]

Listening means: the first verified handshake of a host chosen at random succeeded, timed from the start of the process.
"""

import argparse
import random
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cache import host_name, make_cache
from pebble.server import free_port

_ROOT = Path(__file__).resolve().parent.parent
_SECONDS = 120.0


class Client:
    """Verified handshakes with the daemon."""

    def __init__(self, port: int, root: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(root))

    def handshake(self, host: str) -> None:
        """Make one; raises OSError."""
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=20) as raw,
            self._context.wrap_socket(raw, server_hostname=host),
        ):
            pass

    def wait_for(self, host: str) -> float:
        """Return the seconds until a handshake succeeded."""
        began = time.monotonic()
        while True:
            try:
                self.handshake(host)
            except OSError:
                if time.monotonic() - began > _SECONDS:
                    raise
                time.sleep(0.005)
            else:
                return time.monotonic() - began


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon; its log is beside the configuration."""
    with (config.parent / "proxyd.log").open("wb") as log:
        command = [sys.executable, "-m", "proxyd", "run", "-c", str(config)]
        process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def rss_mib(process: subprocess.Popen[bytes], line: str = "VmRSS") -> float:
    """Return the resident memory."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(one.split()[1] for one in status if one.startswith(line))) / 1024


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def stalls(client: Client, names: list[str], stop: threading.Event, found: list[float]) -> None:
    """Collect how long handshakes take until told to stop."""
    for name in names:
        if stop.is_set():
            return
        began = time.monotonic()
        client.handshake(name)
        found.append(time.monotonic() - began)
        stop.wait(0.01)


def measure_reload(process: subprocess.Popen[bytes], config: Path, client: Client, names: list[str]) -> str:
    """Reload a file with one host more; return how long it took and the slowest handshakes meanwhile."""
    with config.open("a") as file:
        file.write(f"  one-more.bench.example.com: http://127.0.0.1:{free_port()}\n")
    log = config.parent / "proxyd.log"
    stop, found = threading.Event(), list[float]()
    thread = threading.Thread(target=stalls, args=(client, names, stop, found))
    thread.start()
    before, began = cpu_seconds(process), time.monotonic()
    process.send_signal(signal.SIGHUP)
    while "reloaded" not in log.read_text():
        time.sleep(0.01)
    seconds = time.monotonic() - began
    stop.set()
    thread.join()
    slowest = ", ".join(f"{one * 1000:.0f}" for one in sorted(found)[-3:])
    return f"reload {seconds:.2f} s ({cpu_seconds(process) - before:.2f} s CPU), slowest handshakes {slowest} ms"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        port = free_port()
        config = make_cache(directory, chosen.hosts, upstream=free_port(), https=port, http=free_port())
        client = Client(port, directory / "root.pem")
        checks, starts = list[float](), list[float]()
        names = [host_name(number) for number in range(chosen.hosts)]
        for _ in range(chosen.rounds):
            began = time.monotonic()
            subprocess.run([sys.executable, "-m", "proxyd", "check", "-c", str(config)], cwd=_ROOT, check=True)
            checks.append(time.monotonic() - began)
            random.shuffle(names)
            with running(config) as process:
                starts.append(client.wait_for(names[0]))
                print(f"listening after {starts[-1]:.2f} s ({cpu_seconds(process):.2f} s CPU)", flush=True)
        print(f"check: median {statistics.median(checks):.2f} s; listening: median {statistics.median(starts):.2f} s")
        with running(config) as process:
            client.wait_for(names[0])
            print(f"memory when listening {rss_mib(process):.0f} MiB")
            began = time.monotonic()
            for one in names:
                client.handshake(one)
            took = time.monotonic() - began
            print(f"all {chosen.hosts} once: {took:.1f} s, memory {rss_mib(process):.0f} MiB")
            for one in names:
                client.handshake(one)
            print(f"all twice: memory {rss_mib(process):.0f} MiB, peak {rss_mib(process, 'VmHWM'):.0f} MiB")
            print(measure_reload(process, config, client, names))
            before = cpu_seconds(process)
            time.sleep(20)
            print(f"idle: {cpu_seconds(process) - before:.2f} s CPU in 20 s, memory {rss_mib(process):.0f} MiB")


if __name__ == "__main__":
    main()
