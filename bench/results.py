"""The table of bench.peers, as Markdown."""

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import MEASURES, Figures
from bench.peer import PeerPlan

_HEAD = """\
# proxyd beside other proxies

Written by `python -m bench.peers`. Numbers are recorded, never asserted.

- {date}, {machine}.
- {versions}.
- Everything on 127.0.0.1, at the same time: a client and an upstream in Go, both cheap, take their share of the
  processors, so requests a second are of the whole machine. One worker each where nothing else is said (Caddy:
  GOMAXPROCS=1), the same P-256 certificate and chain, TLS 1.3, X25519, never resumed: {tls}.
- {rounds} rounds of {seconds:g} s (bodies: 10 requests; h2load: 20,000, and its handshakes), the servers in turns.
  Processor time is of all processes of a server, from /proc. A figure is the median of the rounds; a ratio is that of
  the processor time: the median of the rounds' own ratios, and their range.
- proxyd, nginx and Caddy write one line of JSON a request to a file, unless it says "no log"; all send X-Forwarded-For,
  -Proto, -Host and X-Request-ID to the upstream. Else the peers have their defaults, but for: no bound on the requests
  of a connection, up to 128 idle connections to the upstream, bodies not written to disk (nginx).
"""


class Report:
    """Collects figures, each by measure and server, in the order of the rounds."""

    def __init__(self, plans: Sequence[PeerPlan], *, rounds: int, seconds: float) -> None:
        self._plans = plans
        self._rounds = rounds
        self._seconds = seconds
        self._figures: dict[str, dict[str, list[Figures]]] = {}
        self._loads: dict[str, float] = {}
        self._memory: dict[str, dict[str, tuple[int, float, float]]] = {}
        self._peaks: dict[str, int] = {}

    def add(self, key: str, name: str, figures: Figures) -> None:
        """Add one round of one server."""
        self._figures.setdefault(key, {}).setdefault(name, []).append(figures)

    def end(self, key: str) -> None:
        """Say that a measure is over: how busy the machine was belongs to it."""
        self._loads[key] = os.getloadavg()[0]

    def add_memory(self, protocol: str, name: str, start: int, connection: float, share: float) -> None:
        """Add KiB: of a server that has served little, and of an idle connection; and its busiest process's share."""
        self._memory.setdefault(protocol, {})[name] = start, connection, share

    def add_peak(self, name: str, peak: int) -> None:
        """Add the most KiB in the whole run."""
        self._peaks[name] = peak

    def show(self) -> str:
        """Return the whole text."""
        parts = [self._head(), *(self._table(key) for key in self._figures)]
        parts += [self._memory_table(protocol) for protocol in self._memory]
        return "\n".join(parts)

    def _head(self) -> str:
        firsts = {plan.name.partition(",")[0]: plan.version for plan in reversed(self._plans)}
        versions = "; ".join(f"{name} {version.removeprefix('proxyd ')}" for name, version in reversed(firsts.items()))
        sessions = {
            name: rounds[0].tls.removeprefix("TLS 1.3 TLS_").removesuffix(" X25519").replace("_", "-")
            for rows in self._figures.values()
            for name, rounds in rows.items()
        }
        return _HEAD.format(
            date=datetime.now(UTC).date(),
            machine=f"{os.cpu_count()} processors, {_processor()}, Linux {platform.release().split('-')[0]}",
            versions=versions,
            tls="; ".join(f"{name} {tls}" for name, tls in sessions.items() if "," not in name),
            rounds=self._rounds,
            seconds=self._seconds,
        )

    def _table(self, key: str) -> str:
        rows, what = self._figures[key], MEASURES[key]
        head = f"\n## {what.title}\n\nLoad average {self._loads[key]:.1f}.\n\n"
        own = ["proxyd"] if any(name.startswith("proxyd,") for name in rows) else []
        references = [name for name in (*own, "nginx", "Caddy", "nginx, no log", "Caddy, no log") if name in rows]
        unit = "CPU s/GB | MB/s | s p50" if what.mebibytes else "CPU µs/request | requests/s | p50 ms | p99 ms"
        titles = f"| | {unit} | {' | '.join(f'of {name}' for name in references)} |"
        lines = [head + titles, "|---" * (titles.count("|") - 1) + "|"]
        for name, rounds in rows.items():
            cells = _cells(rounds, what.mebibytes)
            found = [ratio(rounds, rows[other]) if other != name else "1" for other in references]
            cells += found if name.startswith("proxyd") else [one.partition(" ")[0] for one in found]
            errors = sum(one.errors for one in rounds)
            lines.append(f"| {name}{f' ({errors} errors)' if errors else ''} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def _memory_table(self, protocol: str) -> str:
        lines = [
            f"\n## Memory, {protocol}\n",
            "| | MiB at first | KiB for each of 1,000 idle TLS connections | of them in the busiest process "
            "| most MiB in the run |",
        ]
        lines.append("|---|---|---|---|---|")
        for name, (start, connection, share) in self._memory[protocol].items():
            sizes = f"{start / 1024:.1f} | {connection:.1f} | {share:.0%} | {self._peaks[name] / 1024:.0f}"
            lines.append(f"| {name} | {sizes} |")
        return "\n".join(lines) + "\n"


def _cells(rounds: list[Figures], mebibytes: int) -> list[str]:
    def median(value: Callable[[Figures], float]) -> float:
        return statistics.median(value(one) for one in rounds)

    cpu, rate, p50 = median(lambda one: one.cpu), median(lambda one: one.rate), median(lambda one: one.p50)
    if mebibytes:
        size = mebibytes * 2**20
        return [f"{cpu / size * 1e9:.2f}", f"{rate * size / 1e6:.0f}", f"{p50 / 1000:.2f}"]
    return [f"{cpu * 1e6:.1f}", f"{rate:.0f}", f"{p50:.2f}", f"{median(lambda one: one.p99):.2f}"]


def ratio(ours: list[Figures], theirs: list[Figures]) -> str:
    """Return how the processor time of a request compares, and between what the rounds lay."""
    found = sorted(one.cpu / other.cpu for one, other in zip(ours, theirs, strict=True) if other.cpu)
    if not found:
        return "?"
    middle, first, last = (f"{one:.2f}" for one in (statistics.median(found), found[0], found[-1]))
    return middle if first == last else f"{middle} ({first} to {last})"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((one.partition(":")[2].strip() for one in lines if one.startswith("model name")), platform.machine())
