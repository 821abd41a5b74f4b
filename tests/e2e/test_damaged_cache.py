"""Each file of the cache is damaged in each way: the daemon starts, serves every other host, repairs and says so."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pebble.server import Pebble
from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.limits import without_privilege
from tests.support.upstream import Upstream

#: What is damaged of each: nothing; the live file; live file and copy; the copy.
GOOD, LIVE, BOTH, COPY = HOSTS = tuple(f"{one}.example.test" for one in ("good", "live", "both", "copy"))
OF_THE_DAEMON = ("acme_account+key", "+proxyd/journal.sqlite3", "+proxyd/lease", "+proxyd/self-check.key")
DIRECTORIES = ("tmp", "aside", "orders", "generations", "condemned")


@dataclass(frozen=True)
class Origin:
    """A daemon that was stopped in good order, what it left, and what it served."""

    daemon: DaemonProcess
    pebble: Pebble
    pristine: Path
    leaves: dict[str, bytes]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    directory = tmp_path_factory.mktemp("damaged-cache")
    daemon = DaemonProcess(directory)
    with (
        Upstream() as upstream,
        Pebble(directory / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble,
    ):
        daemon.configure(dict.fromkeys(HOSTS, upstream.port), pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for(HOSTS, daemon=daemon)
        eventually(lambda: daemon.log().count("certificate issued") == len(HOSTS), what=daemon.log)
        leaves = {host: client.leaf(host) for host in HOSTS}
        assert daemon.stop() == 0
        pristine = directory / "pristine"
        daemon.cache.rename(pristine)
        yield Origin(daemon, pebble, pristine, leaves)
        assert daemon.process is None or daemon.process.poll() is not None


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
    "another key": lambda place: place.write_bytes(make_pem(LIVE, BOTH, COPY, key_for_leaf=False)),
    "missing": Path.unlink,
}
HARMLESS = ("unreadable", "readable by all")
#: What has to be named besides certificates. A missing file is that of a first start, an empty journal too;
#: the key of a certificate is as good for an account as any other.
SAID = {
    "*": ("acme_account+key", "journal.sqlite3"),
    "empty": ("acme_account+key",),
    "readable by all": ("acme_account+key", "self-check.key"),
    "another host's": ("journal.sqlite3",),
    "another key": ("journal.sqlite3",),
    "missing": (),
}


def copy_of(cache: Path, host: str) -> Path:
    (found,) = (cache / "+proxyd" / "generations").glob(f"{host}+*")
    return found


def started(origin: Origin, damage: Callable[[Path], None]) -> HttpsClient:
    """Start the daemon on a cache that `damage` changed."""
    shutil.rmtree(origin.daemon.cache, ignore_errors=True)
    shutil.copytree(origin.pristine, origin.daemon.cache)
    damage(origin.daemon.cache)
    origin.daemon.forget_log()
    origin.daemon.start(prepare=without_privilege)
    client = HttpsClient(origin.daemon.https_port, origin.pebble.root())
    client.wait_for([GOOD], daemon=origin.daemon)
    assert client.leaf(GOOD) == origin.leaves[GOOD]
    return client


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_costs_no_other_host(origin: Origin, name: str) -> None:
    def harm(cache: Path) -> None:
        for place in (cache / LIVE, cache / BOTH, copy_of(cache, BOTH), copy_of(cache, COPY)):
            DAMAGES[name](place)
        if name in HARMLESS:  # there has to be an order, for what the daemon needs to make one
            (cache / BOTH).unlink()
            copy_of(cache, BOTH).unlink()
        for file in OF_THE_DAEMON:
            DAMAGES[name](cache / file)

    before = origin.pebble.orders()
    daemon = origin.daemon
    client = started(origin, harm)
    try:
        client.wait_for(HOSTS, daemon=daemon)
        daemon.wait_for("certificate issued")
        assert [host for host in HOSTS if client.leaf(host) != origin.leaves[host]] == [BOTH]
    finally:
        assert daemon.stop() == 0
    assert origin.pebble.orders() - before == 1
    for file in (*HOSTS, *OF_THE_DAEMON):
        assert stat.S_ISREG((daemon.cache / file).lstat().st_mode), file
        assert (daemon.cache / file).stat().st_mode & 0o777 == 0o600, file
    for host in (GOOD, LIVE, COPY):
        assert (daemon.cache / host).read_bytes() == (origin.pristine / host).read_bytes()
    assert "certificate issued" in events(daemon)
    said = complaints(daemon)
    assert not [line for line in said if GOOD in line or "Traceback" in line]
    for file in (LIVE, *(() if name in HARMLESS else (BOTH,)), *SAID.get(name, SAID["*"])):
        assert any(file in line for line in said), f"{file}\n{daemon.log()}"


def events(daemon: DaemonProcess) -> list[str]:
    with sqlite3.connect(daemon.cache / "+proxyd" / "journal.sqlite3") as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM event")]


def complaints(daemon: DaemonProcess) -> list[str]:
    return [line for line in daemon.log().splitlines() if any(word in line for word in ("WARN", "ERROR", "Trace"))]


@pytest.mark.parametrize("kind", ["file", "link", "missing"])
def test_directories_of_the_daemon_that_are_none(origin: Origin, kind: str) -> None:
    def harm(cache: Path) -> None:
        (cache / "elsewhere").mkdir()
        for name in DIRECTORIES:
            place = cache / "+proxyd" / name
            shutil.rmtree(place, ignore_errors=True)
            if kind == "file":
                place.write_bytes(b"x")
            elif kind == "link":
                place.symlink_to(cache / "elsewhere")
        (cache / LIVE).unlink()

    daemon = origin.daemon
    client = started(origin, harm)
    try:
        client.wait_for(HOSTS, daemon=daemon)
        daemon.wait_for("certificate issued")
        assert [host for host in HOSTS if client.leaf(host) != origin.leaves[host]] == [LIVE]
    finally:
        assert daemon.stop() == 0
    assert not list((daemon.cache / "elsewhere").iterdir())
    assert copy_of(daemon.cache, LIVE).read_bytes() == (daemon.cache / LIVE).read_bytes()
    assert "Traceback" not in daemon.log()
