"""The daemon listens before it has read its cache: who asks gets what lies there, and nothing of it is ordered."""

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxyd.certs.certificate import Certificate
from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.fake_ca import FakeCa
from tests.support.processes import children
from tests.support.upstream import Upstream

COUNT = 1500
HOSTS = [f"h{number}.example.test" for number in range(COUNT)]
NEW = "new.example.test"


@pytest.fixture
def ca(tmp_path: Path, daemon: DaemonProcess) -> Iterator[FakeCa]:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        yield one


def test_a_host_asked_for_at_once_gets_its_certificate_of_the_cache(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa
) -> None:
    pems = {host: make_pem(host) for host in HOSTS}
    daemon.cache.mkdir(mode=0o700)
    for host, pem in pems.items():
        (daemon.cache / host).write_bytes(pem)
        (daemon.cache / host).chmod(0o600)
    acme = {"server": ca.url, "ca_bundle": str(ca.bundle)}
    daemon.configure(dict.fromkeys([NEW, *HOSTS], upstream.port), acme=acme)
    daemon.start()
    for host in (HOSTS[-1], HOSTS[0], HOSTS[COUNT // 2]):
        leaf = Certificate.parse(pems[host]).leaf
        client = HttpsClient(daemon.https_port, pems[host][pems[host].index(b"-----BEGIN CERT") :])
        assert client.leaf(host) == leaf
    HttpsClient(daemon.https_port, ca.root()).wait_for([NEW], daemon=daemon)
    daemon.wait_for("certificate issued")
    eventually(lambda: ca.orders() == 1)


@pytest.mark.parametrize("early", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", [1, 2])
def test_who_is_told_something_before_it_listens_ends_cleanly(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa, early: signal.Signals, workers: int
) -> None:
    daemon.configure({NEW: upstream.port}, pebble=ca, workers=workers)
    daemon.start()
    assert daemon.stop() == 0
    with closing(sqlite3.connect(daemon.cache / "+proxyd" / "journal.sqlite3", isolation_level=None)) as journal:
        journal.execute("PRAGMA journal_mode=DELETE")  # with a WAL nobody would have to wait
        journal.execute("BEGIN EXCLUSIVE")  # the daemon waits here
        started = daemon.start(wait=False).process
        assert started is not None
        lease = daemon.cache / "+proxyd" / "lease"
        eventually(
            lambda: any(str(pid) in lease.read_text() for pid in (started.pid, *children(daemon))), what=daemon.log
        )
        started.send_signal(early)
        journal.execute("ROLLBACK")
    assert daemon.stop() == 0


def test_a_locked_journal_delays_no_handshake_of_what_the_cache_has(
    daemon: DaemonProcess, upstream: Upstream, ca: FakeCa
) -> None:
    daemon.configure({NEW: upstream.port}, pebble=ca)
    daemon.start()
    client = HttpsClient(daemon.https_port, ca.root())
    client.wait_for([NEW], daemon=daemon)
    leaf = client.leaf(NEW)
    assert daemon.stop() == 0
    with closing(sqlite3.connect(daemon.cache / "+proxyd" / "journal.sqlite3", isolation_level=None)) as journal:
        journal.execute("PRAGMA locking_mode = EXCLUSIVE")
        journal.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        daemon.start()
        assert client.leaf(NEW) == leaf
        assert time.monotonic() - began < 8  # three waits of five seconds, were it as in operation
    assert daemon.stop() == 0
    assert ca.orders() == 1
