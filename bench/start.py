"""How long until a daemon with N hosts and a full cache listens and serves, and what it needs of memory.

    python -m bench.start [--hosts 10000] [--rounds 3]

Listening: it told systemd READY=1. Serving: the first verified handshake of a host chosen at random succeeded. Both
count from the start of the process.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from bench.cache import host_name, make_cache
from bench.daemon import Client, MeasuredDaemon, command, load
from pebble.server import free_port


def measure_start(config: Path, client: Client, host: str, hosts: int) -> tuple[float, float]:
    """Print how one start goes; return wall and processor time until it listens."""
    with MeasuredDaemon(config) as daemon:
        daemon.wait_for("READY=1")
        listening = daemon.age, daemon.cpu
        client.handshake(host)
        serving = daemon.age, daemon.cpu
        daemon.wait_for(f"STATUS={hosts} of {hosts}")
        steps = {"listening": listening, "first handshake": serving, "cache read": (daemon.age, daemon.cpu)}
    print(", ".join(f"{name} {wall:.2f} s ({cpu:.2f} s CPU)" for name, (wall, cpu) in steps.items()), flush=True)
    return listening


def measure_memory(config: Path, client: Client, names: list[str]) -> None:
    """Print what the daemon needs after every host was used."""
    with MeasuredDaemon(config) as daemon:
        daemon.wait_for(f"STATUS={len(names)} of {len(names)}")
        print(f"memory with the cache read {daemon.rss_mib():.0f} MiB")
        for words in ("once", "twice"):
            began = time.monotonic()
            for one in names:
                client.handshake(one)
            took = time.monotonic() - began
            peak = daemon.rss_mib("VmHWM")
            print(f"all {words}: {took:.1f} s, memory {daemon.rss_mib():.0f} MiB, peak {peak:.0f} MiB", flush=True)
        before = daemon.cpu
        time.sleep(20)
        print(f"idle: {daemon.cpu - before:.2f} s CPU in 20 s, memory {daemon.rss_mib():.0f} MiB")


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
        names = [host_name(number) for number in range(chosen.hosts)]
        command(directory, "check", "-c", config)  # compiles
        print(f"{chosen.hosts} hosts, {load()}")
        checks, starts = list[float](), list[tuple[float, float]]()
        for _ in range(chosen.rounds):
            checks.append(command(directory, "check", "-c", config)[1])
            starts.append(measure_start(config, client, random.choice(names), chosen.hosts))
        wall, cpu = (statistics.median(one) for one in zip(*starts, strict=True))
        print(f"median: listening {wall:.2f} s ({cpu:.2f} s CPU), check {statistics.median(checks):.2f} s CPU")
        print(load(), flush=True)
        random.shuffle(names)
        measure_memory(config, client, names)


if __name__ == "__main__":
    main()
