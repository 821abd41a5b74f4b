"""A cache as a version leaves it behind, for the tests of later ones.

`python -m tests.support.kept_cache FILE [CHECKOUT]` runs the code of a checkout (of this one, when none is named) with
the fake CA at port 1, hence as root, and packs the cache that comes of it. Its certificates live for twenty years and
are to be renewed in 2040; nothing in it is worth anything.
"""

import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import yaml

from pebble.server import free_port
from tests.support.daemon import ROOT, eventually
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import problem

ONE, TWO, SHARED, ALIAS, LOST = (f"{one}.example.test" for one in ("one", "two", "shared", "www.shared", "lost"))
#: Nobody is there later.
SERVER = "https://127.0.0.1:1/directory"
HOSTS: dict[str, object] = {
    ONE: 8080,  # renewed once
    TWO: {"upstream": 8080, "acme": {"key_type": ["p256", "rsa2048"]}},
    SHARED: {"upstream": 8080, "aliases": [ALIAS], "certificate": "shared"},
    LOST: 8080,  # fails
}


def make(checkout: Path, directory: Path) -> Path:
    """Return a cache that the code of a checkout made."""
    cache, log, file = directory / "cache", directory / "log", directory / "config.yaml"
    http, tls = free_port(), free_port()
    with FakeCa(directory / "ca", http_port=http, tls_port=tls, port=1) as ca:
        ca.lifetime = timedelta(days=20 * 365)
        ca.window = {"suggestedWindow": {"start": "2040-01-01T00:00:00Z", "end": "2040-02-01T00:00:00Z"}}
        config = {
            "listen": {"https": f"127.0.0.1:{tls}", "http": f"127.0.0.1:{http}"},
            "cache": str(cache),
            "acme": {"server": ca.url, "ca_bundle": str(ca.bundle)},
            "admin": {"listen": []},
            "log": {"format": "console"},
        }
        certain = {name: options for name, options in HOSTS.items() if name != LOST}
        file.write_text(yaml.safe_dump({**config, "hosts": certain}))
        with _running(checkout, file, log):
            eventually(lambda: log.read_text().count("renewal placed in the CA's window") >= 4, what=log.read_text)
            _proxyd(checkout, "renew", ONE, "-c", str(file)).wait(60)
        ca.instead["finalize"] = lambda: problem("unauthorized", 403, "not for you")
        file.write_text(yaml.safe_dump({**config, "hosts": HOSTS}))
        with _running(checkout, file, log):
            eventually(lambda: "failures=1" in log.read_text(), what=log.read_text)
    return cache


@contextmanager
def _running(checkout: Path, file: Path, log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = _proxyd(checkout, "run", "-c", str(file), stderr=output)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _proxyd(checkout: Path, *arguments: str, **more: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "proxyd", *arguments]
    return subprocess.Popen(command, cwd=checkout, env=environment, **more)  # type: ignore[call-overload,no-any-return]


def main() -> None:
    target, checkout = Path(sys.argv[1]), Path(sys.argv[2]).resolve() if sys.argv[2:] else ROOT
    with tempfile.TemporaryDirectory() as directory, tarfile.open(target, "w:gz") as packed:
        packed.add(make(checkout, Path(directory)), "cache")


if __name__ == "__main__":
    main()
