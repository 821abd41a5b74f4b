"""Each file of the cache is damaged in each way: the daemon starts, serves every other host, repairs and says so."""

import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pebble.server import Pebble
from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.damage import DAMAGES, Origin
from tests.support.damaged_certificates import FIELDS, replaced, wrongly_signed
from tests.support.upstream import Upstream

#: What is damaged of each: nothing; the live file; live file and copy; the copy.
GOOD, LIVE, BOTH, COPY = HOSTS = tuple(f"{one}.example.test" for one in ("good", "live", "both", "copy"))
OF_THE_DAEMON = ("acme_account+key", "+proxyd/journal.sqlite3", "+proxyd/lease", "+proxyd/self-check.key")
DIRECTORIES = ("tmp", "aside", "orders", "generations", "condemned")


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
        yield Origin(daemon, pebble, pristine, GOOD, leaves)


ALL_DAMAGES: dict[str, Callable[[Path], object]] = {
    **DAMAGES,
    "another key": lambda place: place.write_bytes(make_pem(LIVE, BOTH, COPY, key_for_leaf=False)),
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


@pytest.mark.parametrize("name", ALL_DAMAGES)
def test_a_damaged_file_costs_no_other_host(origin: Origin, name: str) -> None:
    def harm(cache: Path) -> None:
        for place in (cache / LIVE, cache / BOTH, copy_of(cache, BOTH), copy_of(cache, COPY)):
            ALL_DAMAGES[name](place)
        if name in HARMLESS:  # there has to be an order, for what the daemon needs to make one
            (cache / BOTH).unlink()
            copy_of(cache, BOTH).unlink()
        for file in OF_THE_DAEMON:
            ALL_DAMAGES[name](cache / file)

    before, daemon = origin.ca.orders(), origin.daemon
    with origin.started(harm) as client:
        assert origin.renewed(client) == [BOTH]
        daemon.wait_for("certificate issued")
    assert origin.ca.orders() - before == 1
    for file in (*HOSTS, *OF_THE_DAEMON):
        assert stat.S_ISREG((daemon.cache / file).lstat().st_mode), file
        assert (daemon.cache / file).stat().st_mode & 0o777 == 0o600, file
    for host in (GOOD, LIVE, COPY):
        assert (daemon.cache / host).read_bytes() == (origin.pristine / host).read_bytes()
    assert "certificate issued" in events(daemon)
    said = origin.complaints()
    is_new = name in (*HARMLESS, "missing")  # nothing is left of it: a new host is no damage
    for file in (LIVE, *(() if is_new else (BOTH,)), *SAID.get(name, SAID["*"])):
        assert any(file in line for line in said), f"{file}\n{daemon.log()}"


def events(daemon: DaemonProcess) -> list[str]:
    return [kind for (kind,) in daemon.journal("SELECT kind FROM event")]


@pytest.mark.parametrize("field", [*FIELDS, "signature"])
def test_a_bit_of_a_certificate_costs_no_other_host(origin: Origin, field: str) -> None:
    def harm(cache: Path) -> None:
        for place in (cache / LIVE, cache / BOTH, copy_of(cache, BOTH), copy_of(cache, COPY)):
            pem = place.read_bytes()
            place.write_bytes(wrongly_signed(pem) if field == "signature" else replaced(pem, field))

    with origin.started(harm) as client:
        assert origin.renewed(client) == [BOTH]
        origin.daemon.wait_for("certificate issued")
    for host in (GOOD, LIVE, COPY):
        assert (origin.daemon.cache / host).read_bytes() == (origin.pristine / host).read_bytes()
    assert any(f"{LIVE}: " in line or f"file={LIVE}" in line for line in origin.complaints()), origin.daemon.log()


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
    with origin.started(harm) as client:
        assert origin.renewed(client) == [LIVE]
        daemon.wait_for("certificate issued")
    assert not list((daemon.cache / "elsewhere").iterdir())
    assert copy_of(daemon.cache, LIVE).read_bytes() == (daemon.cache / LIVE).read_bytes()
