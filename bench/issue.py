"""Certificates from cold, 4 orders at once: proxyd and a Go program on x/crypto/acme, in turns, each on a Pebble

    python -m bench.issue [--hosts 300] [--rounds 3] [--challenge http-01] [--retry-after 1]

proxyd's seconds count from its first order to its last certificate, installed, confirmed by a handshake and on disk.
The Go program's from its registration to its last file. Both use a new account and fresh names each time.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from pebble.server import Pebble, free_port

_ROOT = Path(__file__).resolve().parent.parent
_SECONDS = 900.0


class TunedPebble(Pebble):
    """Pebble with another Retry-After."""

    retry_after = 1

    def _config(self) -> dict[str, object]:
        config = super()._config()
        return {"pebble": {**config["pebble"], "retryAfter": {"authz": self.retry_after, "order": self.retry_after}}}  # type: ignore[dict-item]


def proxyd(directory: Path, pebble: Pebble, names: list[str], challenge: str, port: int) -> tuple[float, float]:
    """Return the seconds and the processor time of proxyd."""
    https, http = (port, free_port()) if challenge == "tls-alpn-01" else (free_port(), port)
    config = {
        "listen": {"https": f"127.0.0.1:{https}", "http": f"127.0.0.1:{http}"},
        "cache": str(directory / "cache"),
        "acme": {"server": pebble.url, "ca_bundle": str(pebble.bundle), "challenges": [challenge]},
        "log": {"format": "json"},
        "hosts": dict.fromkeys(names, "http://127.0.0.1:9"),
    }
    (directory / "config.yaml").write_text(json.dumps(config))
    log = directory / "proxyd.log"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as file:
        command = [sys.executable, "-m", "proxyd", "run", "-c", str(directory / "config.yaml")]
        process = subprocess.Popen(command, cwd=_ROOT, stdout=file, stderr=file)
        deadline = time.monotonic() + _SECONDS
        while log.read_bytes().count(b'"certificate issued"') < len(names):
            if process.poll() is not None or time.monotonic() > deadline or b'"no certificate"' in log.read_bytes():
                process.kill()
                raise SystemExit(f"not issued: look at {log}\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        process.terminate()
        process.wait(30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    began = next(one for one in lines if one["event"] == "listening")
    ended = [one for one in lines if one["event"] == "certificate issued"][-1]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = datetime.fromisoformat(ended["time"]) - datetime.fromisoformat(began["time"])
    return seconds.total_seconds(), cpu


def go(directory: Path, pebble: Pebble, names: list[str], challenge: str, port: int) -> tuple[float, float]:
    """Return the seconds and the processor time of the Go program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command: list[str | Path] = [_ROOT / "pebble/bin/acme-peer", "-directory", pebble.url, "-bundle", pebble.bundle]
    command += ["-challenge", challenge, "-listen", f"127.0.0.1:{port}", "-out", directory, *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(done.stdout), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--challenge", choices=["http-01", "tls-alpn-01"], default="http-01")
    parser.add_argument("--retry-after", type=int, default=1, help="seconds that Pebble asks for between two looks")
    chosen = parser.parse_args()
    TunedPebble.retry_after = chosen.retry_after
    port = free_port()
    print(f"{chosen.hosts} hosts, {chosen.challenge}, Retry-After {chosen.retry_after} s")
    for number in range(chosen.rounds):
        for name, run in (("proxyd", proxyd), ("Go", go))[:: 1 if number % 2 else -1]:
            with tempfile.TemporaryDirectory() as made:
                directory = Path(made)
                names = [f"{name.lower()}{number}-{one}.example.test" for one in range(chosen.hosts)]
                with TunedPebble(directory / "pebble", http_port=port, tls_port=port) as pebble:
                    seconds, cpu = run(directory, pebble, names, chosen.challenge, port)
            rate, each = chosen.hosts / seconds, cpu / chosen.hosts * 1000
            print(f"{name:6} {rate:6.1f} certificates/s ({seconds:.1f} s; {each:.1f} ms CPU each)", flush=True)


if __name__ == "__main__":
    main()
