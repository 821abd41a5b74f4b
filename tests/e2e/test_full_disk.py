"""A disk that takes nothing, and a machine without descriptors: what serves goes on, and nothing is damaged or lost."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.limits import limit, without_privilege
from tests.support.upstream import Upstream

OLD, NEW, NEXT = (f"{one}.example.test" for one in ("old", "new", "next"))


@pytest.fixture
def ca(tmp_path: Path, daemon: DaemonProcess) -> Iterator[FakeCa]:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        yield one


@pytest.fixture
def client(daemon: DaemonProcess, upstream: Upstream, ca: FakeCa) -> Iterator[HttpsClient]:
    """A daemon with one certificate."""
    configure(daemon, ca, upstream, OLD)
    daemon.start(prepare=without_privilege)
    found = HttpsClient(daemon.https_port, ca.root())
    found.wait_for([OLD], daemon=daemon)
    daemon.wait_for("certificate issued")
    yield found
    close(daemon.cache, mode=0o700)


def close(cache: Path, *, mode: int = 0o500) -> None:
    """Let nothing new into the cache: to who writes, the same as a disk that is full or read-only."""
    for one in (cache, *(one for one in cache.rglob("*") if one.is_dir())):
        one.chmod(mode)


def configure(daemon: DaemonProcess, ca: FakeCa, upstream: Upstream, *hosts: str) -> None:
    acme = {"server": ca.url, "ca_bundle": str(ca.bundle)}
    daemon.configure(dict.fromkeys(hosts, upstream.port), acme=acme)


@pytest.mark.parametrize("end", ["there is room again", "it is stopped", "it is killed"])
def test_a_disk_that_takes_nothing_when_the_certificate_comes(
    daemon: DaemonProcess, client: HttpsClient, upstream: Upstream, ca: FakeCa, end: str
) -> None:
    def fill(answer: Answer) -> Answer:
        close(daemon.cache)
        return answer

    old = (daemon.cache / OLD).read_bytes()
    ca.script["certificate"] = fill
    configure(daemon, ca, upstream, OLD, NEW)
    daemon.reload()
    client.wait_for([NEW], daemon=daemon)
    leaves = client.leaf(OLD), client.leaf(NEW)
    daemon.wait_for("the new certificate serves, but could not be kept")
    assert not (daemon.cache / NEW).exists()
    assert (daemon.cache / OLD).read_bytes() == old
    configure(daemon, ca, upstream, OLD, NEW, NEXT)
    daemon.reload()
    daemon.wait_for("no certificate is ordered, because it could not be kept")
    assert ca.orders() == 2
    configure(daemon, ca, upstream, OLD, NEW)
    if end == "it is killed":
        daemon.stop(signal.SIGKILL)
        close(daemon.cache, mode=0o700)
        ca.script.clear()
    else:
        close(daemon.cache, mode=0o700)
        if end == "there is room again":
            daemon.wait_for("the certificate is kept now")
            eventually((daemon.cache / NEW).exists)
        assert daemon.stop() == 0
        assert (daemon.cache / NEW).exists()
    daemon.start()
    client.wait_for([OLD, NEW], daemon=daemon)
    assert (client.leaf(OLD), client.leaf(NEW)) == leaves
    assert ca.orders() == 2


def test_a_cache_that_cannot_be_written_at_the_start(daemon: DaemonProcess, client: HttpsClient) -> None:
    leaf = client.leaf(OLD)
    assert daemon.stop() == 0
    before = {one: one.read_bytes() for one in daemon.cache.rglob("*") if one.is_file()}
    close(daemon.cache)
    daemon.forget_log()
    daemon.start(prepare=without_privilege)
    assert client.leaf(OLD) == leaf
    assert "the cache serves as it is, but nothing can be kept and ordered" in daemon.log()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()
    names = (OLD, "acme_account+key")
    assert all((daemon.cache / name).read_bytes() == before[daemon.cache / name] for name in names)


def test_no_descriptors(daemon: DaemonProcess, client: HttpsClient, upstream: Upstream, ca: FakeCa) -> None:
    before = {one: one.read_bytes() for one in daemon.cache.rglob("*") if one.is_file() and "example" in one.name}
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
    daemon.reload()
    client.wait_for([OLD], daemon=daemon)
    assert daemon.stop() == 0
    daemon.start()
    client.wait_for([OLD, NEW], daemon=daemon)
    assert ca.orders() == 2
