"""proxyd beside nginx, HAProxy and the newest Caddy: what a request costs each, in turns, on this machine.

    python -m bench.peers [--rounds 5] [--seconds 1.5] [--only keepalive …] [--peers proxyd nginx …] [--print]

Installs nginx, HAProxy and h2load by apt when they are missing (as root) and builds Caddy and the load generator
(bench/build).
Writes bench/RESULTS.md, or with --print only shows it. Numbers are recorded, never asserted.
"""

import argparse
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.h2load import H2load
from bench.load import Load
from bench.measure import MEASURES, Figures, Measure
from bench.peer import Peer
from bench.peer_plans import HOST, Plans
from bench.results import Report

_HERE = Path(__file__).resolve().parent
_PACKAGES = {"/usr/sbin/nginx": "nginx", "/usr/sbin/haproxy": "haproxy", "/usr/bin/h2load": "nghttp2-client"}
_IDLE = 1000
_MEMORY = {"idle": "HTTP/1.1", "h2-idle": "HTTP/2"}
_SETTLE_SECONDS = 2.0


def install() -> None:
    """Get the peers, once."""
    missing = [package for program, package in _PACKAGES.items() if not Path(program).exists()]
    if missing:
        # Nothing shall be started by the installation.
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
        subprocess.run([*quiet, "apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            [*quiet, "apt-get", "install", "-y", "-q", "--no-install-recommends", *missing],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    subprocess.run([str(_HERE / "build")], check=True)


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """Run the upstream and give its port."""
    process = subprocess.Popen([str(_HERE / "bin/upstream")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def measure(peer: Peer, what: Measure, root: Path, seconds: float) -> Figures:
    """Make one round with one of them."""
    with _generator(peer, what, root, seconds) as load:
        before = peer.cpu
        counted = load.run()
        cpu = peer.cpu - before
    if counted.errors:
        print(f"  {peer.name}: {counted.errors} errors, the first: {counted.error}", flush=True)
    return Figures(
        cpu=cpu / max(counted.requests, 1),
        rate=counted.requests / counted.seconds,
        p50=counted.p50,
        p99=counted.p99,
        errors=counted.errors,
        tls=counted.tls,
    )


def _generator(
    peer: Peer, what: Measure, root: Path, seconds: float
) -> contextlib.AbstractContextManager[Load | H2load]:
    if what.mode == "h2load":
        return contextlib.nullcontext(H2load(peer.port, HOST, lines=what.lines, paths=what.paths))
    return Load(what.mode, peer.port, HOST, root, connections=what.connections, seconds=seconds, count=what.count)


def idle(peer: Peer, root: Path, mode: str) -> tuple[int, float, float]:
    """Return the resident KiB of a server that has served little, what an idle connection adds, and the share of
    them that its busiest process has.
    """
    with Load(mode, peer.port, HOST, root, connections=10, count=1) as warm:
        warm.run()
    before, had = peer.rss_kib, peer.descriptors
    with Load(mode, peer.port, HOST, root, connections=_IDLE, count=1) as load:
        load.run()
        time.sleep(_SETTLE_SECONDS)
        more = (peer.descriptors - had).values()
        return before, (peer.rss_kib - before) / _IDLE, max(more) / sum(more)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one round with one server")
    parser.add_argument("--only", nargs="*", choices=[*MEASURES, *_MEMORY], default=[*MEASURES, *_MEMORY])
    parser.add_argument("--peers", nargs="*", help="the names that are measured, as in the table; all")
    parser.add_argument("--print", action="store_true", help="leave RESULTS.md alone")
    chosen = parser.parse_args()
    install()
    report = _run(chosen.only, chosen.peers, rounds=chosen.rounds, seconds=chosen.seconds)
    text = report.show()
    print(text)
    if not chosen.print:
        (_HERE / "RESULTS.md").write_text(text)


def _run(only: Sequence[str], names: Sequence[str] | None, *, rounds: int, seconds: float) -> Report:
    directory = Path(tempfile.mkdtemp(prefix="proxyd-bench-"))
    directory.chmod(0o755)
    try:
        with contextlib.ExitStack() as stack:
            plans = Plans(directory, upstream=stack.enter_context(upstream()))
            wanted = [plan for plan in plans.all() if names is None or plan.name in names]
            report = Report(wanted, rounds=rounds, seconds=seconds)
            for mode in (one for one in _MEMORY if one in only):
                print(f"{mode} …", flush=True)
                for plan in wanted:
                    with Peer(plan, directory) as peer:  # memory that was used once would be had again
                        report.add_memory(_MEMORY[mode], peer.name, *idle(peer, plans.root, mode))
            peers = [stack.enter_context(Peer(plan, directory)) for plan in wanted]
            for key in only:
                if key in MEASURES:
                    _measure_all(report, key, peers, plans.root, rounds=rounds, seconds=seconds)
            for peer in peers:
                report.add_peak(peer.name, peer.peak_kib)
            return report
    finally:
        shutil.rmtree(directory)


def _measure_all(report: Report, key: str, peers: list[Peer], root: Path, *, rounds: int, seconds: float) -> None:
    what = MEASURES[key]
    peers = [peer for peer in peers if what.twins or not peer.plan.twin]
    print(f"{what.title} …", flush=True)
    for number in range(rounds):
        # Another begins each time: nobody always follows the same one.
        turn = number % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            report.add(key, peer.name, measure(peer, what, root, seconds))
    report.end(key)


if __name__ == "__main__":
    main()
