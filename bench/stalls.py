"""How long handshakes take while a daemon with N hosts reloads, or is asked by a command; and how long that takes.

    python -m bench.stalls [--hosts 10000] [--rounds 3]

Each line: what was done, its wall and processor time, and the handshakes meanwhile, one after another. The daemon's own
share of the processor time is in the line of the reload only: commands are processes of their own.
"""

import argparse
import random
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

from bench.cache import host_name, make_cache
from bench.daemon import Client, MeasuredDaemon, command, load
from pebble.server import free_port

_QUIET_SECONDS = 2.0
_PAUSE_SECONDS = 0.01


def handshakes(client: Client, names: Iterator[str], stop: threading.Event, found: list[float]) -> None:
    """Collect how long handshakes take until told to stop."""
    while not stop.wait(_PAUSE_SECONDS):
        found.append(client.handshake(next(names)))


def during(client: Client, names: Iterator[str], what: Callable[[], tuple[float, float]]) -> str:
    """Do it; return how long it took and how the handshakes were meanwhile."""
    stop, found = threading.Event(), list[float]()
    thread = threading.Thread(target=handshakes, args=(client, names, stop, found))
    thread.start()
    try:
        wall, cpu = what()
    finally:
        stop.set()
        thread.join()
    slowest = ", ".join(f"{one * 1000:.0f}" for one in sorted(found)[-3:])
    middle = statistics.median(found) * 1000
    return f"{wall:.2f} s ({cpu:.2f} s CPU); {len(found)} handshakes, median {middle:.0f} ms, slowest {slowest} ms"


def reloaded(daemon: MeasuredDaemon, config: Path, number: int) -> tuple[float, float]:
    """Reload a file with one host more; return wall and processor time."""
    with config.open("a") as file:
        file.write(f"  more{number}.bench.example.com: http://127.0.0.1:{free_port()}\n")
    wall, cpu = daemon.age, daemon.cpu
    daemon.reload()
    return daemon.age - wall, daemon.cpu - cpu


def quiet() -> tuple[float, float]:
    """Do nothing for a while."""
    threading.Event().wait(_QUIET_SECONDS)
    return _QUIET_SECONDS, 0.0


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        config = make_cache(directory, chosen.hosts, upstream=free_port(), https=port, http=free_port())
        client = Client(port, directory / "root.pem")
        listed = [host_name(number) for number in range(chosen.hosts)]
        random.shuffle(listed)
        names, common = cycle(listed), ("-c", config)
        commands: Sequence[tuple[str | Path, ...]] = [
            ("status",),
            ("status", "--json"),
            ("status", listed[0]),
            ("explain", listed[0]),
            ("plan",),
        ]
        command(directory, "check", *common)  # compiles
        with MeasuredDaemon(config) as daemon:
            daemon.wait_for(f"STATUS={chosen.hosts} of {chosen.hosts}")
            print(f"{chosen.hosts} hosts, {load()}")
            for number in range(chosen.rounds):
                print(f"quiet: {during(client, names, quiet)}")
                line = during(client, names, lambda number=number: reloaded(daemon, config, number))  # type: ignore[misc]
                print(f"reload: {line}", flush=True)
                for words in commands:
                    line = during(client, names, lambda words=words: command(directory, *words, *common))  # type: ignore[misc]
                    print(f"{' '.join(map(str, words))}: {line}", flush=True)
            print(load())


if __name__ == "__main__":
    main()
