"""A disk that takes nothing, and a machine without descriptors: what serves goes on, and nothing is damaged or lost."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from proxyd.daemon.descriptors import FEWEST
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.disk import ClosedDisk, Disk, tiny_disk
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.limits import limit
from tests.support.upstream import Upstream

OLD, NEW, NEXT = (f"{one}.example.test" for one in ("old", "new", "next"))


@pytest.fixture
def ca(tmp_path: Path, daemon: DaemonProcess) -> Iterator[FakeCa]:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        yield one


@pytest.fixture(params=["closed", "full"])
def disk(request: pytest.FixtureRequest, daemon: DaemonProcess) -> Iterator[Disk]:
    if request.param == "full":
        with tiny_disk(daemon.cache, kib=1024) as one:
            yield one
    else:
        closed = ClosedDisk(daemon.cache)
        yield closed
        closed.free()


@pytest.fixture
def client(daemon: DaemonProcess, upstream: Upstream, ca: FakeCa, disk: Disk) -> Iterator[HttpsClient]:
    """A daemon with one certificate."""
    configure(daemon, ca, upstream, OLD)
    daemon.start(prepare=disk.prepare)
    found = HttpsClient(daemon.https_port, ca.root())
    found.wait_for([OLD], daemon=daemon)
    daemon.wait_for("certificate issued")
    yield found
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.stop()  # before its disk


def configure(daemon: DaemonProcess, ca: FakeCa, upstream: Upstream, *hosts: str) -> None:
    acme = {"server": ca.url, "ca_bundle": str(ca.bundle)}
    admin = {"socket": str(daemon.directory / "control.sock")}  # not on the disk that takes nothing
    daemon.configure(dict.fromkeys(hosts, upstream.port), acme=acme, admin=admin)


@pytest.mark.parametrize("end", ["there is room again", "it is stopped", "it is killed"])
def test_a_disk_that_takes_nothing_when_the_certificate_comes(
    daemon: DaemonProcess, client: HttpsClient, upstream: Upstream, ca: FakeCa, disk: Disk, end: str
) -> None:
    def fill(answer: Answer) -> Answer:
        disk.fill()
        return answer

    old = (disk.cache / OLD).read_bytes()
    ca.script["certificate"] = fill
    configure(daemon, ca, upstream, OLD, NEW)
    daemon.reload()
    client.wait_for([NEW], daemon=daemon)
    leaves = client.leaf(OLD), client.leaf(NEW)
    daemon.wait_for("the new certificate serves, but could not be kept")
    told = command(daemon, "status", "--json")
    assert (told.status, told.json["ok"], told.json["hosts"][NEW]["state"]) == (1, False, "ready")
    assert "is in memory only" in told.json["hosts"][NEW]["alarms"][0]
    assert "is in memory only" in command(daemon, "status").out
    explained = command(daemon, "explain", NEW)
    assert explained.status == 1
    assert "Do what the text says before the daemon ends" in explained.out
    assert "Nothing." not in explained.out
    assert not (disk.cache / NEW).exists()
    assert (disk.cache / OLD).read_bytes() == old
    configure(daemon, ca, upstream, OLD, NEW, NEXT)
    daemon.reload()
    daemon.wait_for("no certificate is ordered, because it could not be kept")
    assert ca.orders() == 2
    assert "is not writable" in command(daemon, "status", "--json").json["cache"]
    configure(daemon, ca, upstream, OLD, NEW)
    if end == "it is killed":
        daemon.stop(signal.SIGKILL)
        disk.free()
        ca.script.clear()
    else:
        disk.free()
        if end == "there is room again":
            daemon.wait_for("the certificate is kept now")
            eventually((disk.cache / NEW).exists)
            eventually(lambda: command(daemon, "explain", NEW).status == 0)  # it makes the journal try again
            assert command(daemon, "status", OLD, NEW).status == 0
        assert daemon.stop() == 0
        assert (disk.cache / NEW).exists()
    daemon.start(prepare=disk.prepare)
    client.wait_for([OLD, NEW], daemon=daemon)
    assert (client.leaf(OLD), client.leaf(NEW)) == leaves
    assert ca.orders() == 2
    assert "Traceback" not in daemon.log()


def test_a_cache_that_cannot_be_written_at_the_start(
    tmp_path: Path, daemon: DaemonProcess, client: HttpsClient, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(disk, ClosedDisk):  # no socket can be made there; on a full disk one can
        (tmp_path / "session").mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
        document = yaml.safe_load(daemon.file.read_text())
        del document["admin"]
        daemon.file.write_text(yaml.safe_dump(document))
    leaf = client.leaf(OLD)
    assert daemon.stop() == 0
    before = {one: one.read_bytes() for one in disk.cache.rglob("*") if one.is_file()}
    disk.fill()
    daemon.forget_log()
    daemon.start(prepare=disk.prepare)
    assert client.leaf(OLD) == leaf
    assert "the cache serves as it is, but nothing can be kept and ordered" in daemon.log()
    told = command(daemon, "explain", OLD)
    assert told.status == 1
    assert "is not writable" in told.out
    assert "nothing is ordered" in told.out
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()
    names = (OLD, "acme_account+key")
    assert all((disk.cache / name).read_bytes() == before[disk.cache / name] for name in names)


@pytest.mark.parametrize("disk", ["closed"], indirect=True)
def test_no_descriptors(daemon: DaemonProcess, client: HttpsClient, upstream: Upstream, ca: FakeCa, disk: Disk) -> None:
    before = {one: one.read_bytes() for one in disk.cache.rglob("*") if one.is_file() and "example" in one.name}
    request = f"GET / HTTP/1.1\r\nHost: {OLD}\r\n\r\n".encode()
    with client.connect(OLD) as tls:
        tls.sendall(request)  # its upstream connection is kept for the next
        assert tls.recv(15) == b"HTTP/1.1 200 OK"
        limit(daemon, resource.RLIMIT_NOFILE, 3)
        configure(daemon, ca, upstream, OLD, NEW)
        daemon.reload()
        daemon.wait_for("Too many open files")
        assert ca.orders() == 1
    limit(daemon, resource.RLIMIT_NOFILE, None)
    client.wait_for([OLD], daemon=daemon)
    assert {one: one.read_bytes() for one in before} == before
    daemon.hang_up()
    client.wait_for([OLD], daemon=daemon)
    assert daemon.stop() == 0
    daemon.start(prepare=disk.prepare)
    client.wait_for([OLD, NEW], daemon=daemon)
    assert ca.orders() == 2


def test_files_that_the_disk_cannot_read(daemon: DaemonProcess, upstream: Upstream, ca: FakeCa) -> None:
    """Real EIO, of certificates with and without a copy, of the account key and of the journal."""
    with tiny_disk(daemon.cache, kib=2048) as disk:
        configure(daemon, ca, upstream, OLD, NEW, NEXT)
        daemon.start(prepare=disk.prepare)
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([OLD, NEW, NEXT], daemon=daemon)
        eventually(lambda: daemon.log().count("certificate issued") == 3, what=daemon.log)
        leaves = {host: client.leaf(host) for host in (OLD, NEW, NEXT)}
        assert daemon.stop() == 0
        (copy,) = (disk.cache / "+proxyd" / "generations").glob(f"{NEXT}+*")
        copy.unlink()
        broken = (NEW, NEXT, "acme_account+key", "+proxyd/journal.sqlite3")
        accounts = ca.asked["account"]
        for name in broken:
            disk.break_file(name)
        daemon.forget_log()
        daemon.start(prepare=disk.prepare)
        client.wait_for([OLD, NEW], daemon=daemon)
        assert {host: client.leaf(host) for host in (OLD, NEW)} == {host: leaves[host] for host in (OLD, NEW)}
        daemon.wait_for("no certificate is ordered")  # for NEXT: the key of our account may be read later
        daemon.wait_for("the journal cannot be written")
        assert daemon.stop() == 0
        assert daemon.log().count("Input/output error") >= 3
        assert "Traceback" not in daemon.log()
        for name in broken:
            disk.mend_file(name)
        daemon.start(prepare=disk.prepare)
        client.wait_for(leaves, daemon=daemon)
        assert {host: client.leaf(host) for host in leaves} == leaves
        assert daemon.stop() == 0
        assert (ca.orders(), ca.asked["account"]) == (3, accounts)


@pytest.mark.parametrize("disk", ["closed"], indirect=True)
def test_too_few_descriptors_from_the_start(daemon: DaemonProcess, client: HttpsClient, ca: FakeCa) -> None:
    """It says so and leaves the cache alone; with the fewest that it takes it serves."""

    def allow(count: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    leaf = client.leaf(OLD)
    assert daemon.stop() == 0
    before = {one: one.stat().st_mtime_ns for one in daemon.cache.rglob("*")}
    for count in (8, 16, FEWEST - 1):
        daemon.forget_log()
        daemon.start(prepare=allow(count), wait=False)
        assert daemon.process is not None
        daemon.process.wait(20)
        assert daemon.stop() == 2
        assert f'cannot start reason="only {count} files may be open' in daemon.log()
        assert len(daemon.log().splitlines()) == 1
    assert {one: one.stat().st_mtime_ns for one in daemon.cache.rglob("*")} == before
    daemon.start(prepare=allow(FEWEST))
    client.wait_for([OLD], daemon=daemon)
    assert client.leaf(OLD) == leaf
    assert daemon.stop() == 0
    assert ca.orders() == 1
