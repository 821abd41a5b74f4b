"""Caches whose files were damaged while no daemon ran."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess, HttpsClient
from tests.support.limits import without_privilege


class CountingCa(Protocol):
    """A CA that runs all the time."""

    def root(self) -> bytes: ...

    def orders(self) -> int: ...


@dataclass(frozen=True)
class Origin:
    """A stopped daemon, what it left, and what it served. `good` is a host that is left alone."""

    daemon: DaemonProcess
    ca: CountingCa
    pristine: Path
    good: str
    leaves: dict[str, bytes]

    @contextmanager
    def started(self, damage: Callable[[Path], object]) -> Iterator[HttpsClient]:
        """Run the daemon on a cache that `damage` changed; it stops in good order afterwards."""
        daemon = self.daemon
        shutil.rmtree(daemon.cache, ignore_errors=True)
        shutil.copytree(self.pristine, daemon.cache)
        damage(daemon.cache)
        daemon.forget_log()
        daemon.start(prepare=without_privilege)
        try:
            client = HttpsClient(daemon.https_port, self.ca.root())
            client.wait_for([self.good], daemon=daemon)
            assert client.leaf(self.good) == self.leaves[self.good]
            yield client
        finally:
            status = daemon.stop()
        assert status == 0
        assert not [line for line in self.complaints() if self.good in line or "Traceback" in line]

    def renewed(self, client: HttpsClient) -> list[str]:
        """Return which hosts have another certificate than before, once all have one."""
        client.wait_for(self.leaves, daemon=self.daemon)
        return [host for host in self.leaves if client.leaf(host) != self.leaves[host]]

    def complaints(self) -> list[str]:
        lines = self.daemon.log().splitlines()
        return [line for line in lines if any(word in line for word in ("WARN", "ERROR", "Trace"))]


def _truncated(place: Path) -> None:
    os.truncate(place, place.stat().st_size // 2)


def _directory(place: Path) -> None:
    place.unlink()
    place.mkdir()
    (place / "file").write_bytes(b"x")


def _link(place: Path) -> None:
    """A link to an intact copy elsewhere: only one who follows it finds nothing wrong."""
    elsewhere = place.with_name("elsewhere")
    elsewhere.mkdir(exist_ok=True)
    place.rename(elsewhere / place.name)
    place.symlink_to(elsewhere / place.name)


def _pipe(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def _of_another(place: Path) -> None:
    """Key and certificate of another host, or another key where it is that of a host with its own."""
    place.write_bytes(make_pem("other.example.test"))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": _truncated,
    "empty": lambda place: place.write_bytes(b""),
    "zeroed": lambda place: place.write_bytes(bytes(place.stat().st_size)),
    "garbage": lambda place: place.write_bytes(b"garbage" * 1000),
    "directory": _directory,
    "link": _link,
    "pipe": _pipe,
    "unreadable": lambda place: place.chmod(0),
    "readable by all": lambda place: place.chmod(0o644),
    "another host's": _of_another,
    "missing": Path.unlink,
}
