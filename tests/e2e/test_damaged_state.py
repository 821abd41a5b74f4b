"""What a killed daemon left beside its certificates is damaged: orders under way, marks, the journal's own files."""

import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.daemon.system_clock import SystemClock
from proxyd.store.archive import Archive
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.damage import DAMAGES, Origin
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.upstream import Upstream

#: Nothing happens to its files; it was revoked, and a backup brought it back; its order was cut off.
GOOD, REVOKED, CUT = (f"{one}.example.test" for one in ("good", "revoked", "cut"))
#: The content of an order that can still be read.
READABLE = ("unreadable", "readable by all")
NOT_FILES = ("directory", "link", "pipe")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    directory = tmp_path_factory.mktemp("damaged-state")
    daemon = DaemonProcess(directory)
    done = threading.Event()

    def hold(answer: Answer) -> Answer:
        done.set()
        answer.delay = 20
        return answer

    with (
        Upstream() as upstream,
        FakeCa(directory / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca,
    ):
        daemon.configure({GOOD: upstream.port, REVOKED: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([GOOD, REVOKED], daemon=daemon)
        leaves, backup = {host: client.leaf(host) for host in (GOOD, REVOKED)}, (daemon.cache / REVOKED).read_bytes()
        ca.script["finalize"] = hold
        daemon.configure(dict.fromkeys((GOOD, REVOKED, CUT), upstream.port), pebble=ca)
        daemon.reload()
        assert done.wait(20)
        daemon.stop(signal.SIGKILL)
        ca.script.clear()
        store = CertificateStore(DirectoryStore(daemon.cache, clock=SystemClock()), clock=SystemClock())
        store.condemn(Hostname(REVOKED), Certificate.parse(backup), "revoked")
        (daemon.cache / REVOKED).write_bytes(backup)
        pristine = directory / "pristine"
        with closing(sqlite3.connect(journal(daemon.cache))) as connection:
            connection.execute("INSERT INTO state VALUES ('a', '{}')")
            connection.commit()
            # As one who is killed while it writes leaves it:
            shutil.copytree(daemon.cache, pristine, ignore=shutil.ignore_patterns("*.sock"))
        assert sorted(one.name for one in (pristine / "+proxyd").glob("journal.*")) == [
            "journal.sqlite3",
            "journal.sqlite3-shm",
            "journal.sqlite3-wal",
        ]
        yield Origin(daemon, ca, pristine, GOOD, leaves)


@pytest.mark.parametrize("part", ["-wal", "-shm"])
@pytest.mark.parametrize("name", DAMAGES)
def test_what_a_kill_left_is_damaged(origin: Origin, name: str, part: str) -> None:
    """An order that can be read is gone on with, another is placed anew; a mark counts whatever is in it."""

    def harm(cache: Path) -> None:
        private = cache / "+proxyd"
        for place in (only_file_in(private / "orders"), only_file_in(private / "condemned"), journal(cache, part)):
            DAMAGES[name](place)

    before, private = origin.ca.orders(), origin.daemon.cache / "+proxyd"
    placed = {CUT} if name not in READABLE else set()
    placed |= {REVOKED} if name != "missing" else set()
    with origin.started(harm) as client:
        client.wait_for([CUT, REVOKED], daemon=origin.daemon)
        eventually(lambda: origin.daemon.log().count("certificate issued") >= len(placed), what=origin.daemon.log)
        assert (client.leaf(REVOKED) == origin.leaves[REVOKED]) is (name == "missing")
        # An order is forgotten when its certificate is seen to serve, after it is told.
        orders = private / "orders"
        eventually(lambda: not [one for one in orders.iterdir() if one.is_file() or one.is_symlink()])
    assert origin.ca.orders() - before == len(placed)
    assert said(origin, "an interrupted order cannot be read") is (name not in (*READABLE, "missing"))
    # The files of a transaction: SQLite passes over those that it cannot use.
    assert said(origin, "the journal is broken and is set aside") is (name in NOT_FILES)
    assert bool(list(private.glob("journal.*broken*"))) is (name in NOT_FILES)
    assert {"order resumed" if name in READABLE else "order started", "certificate issued"} <= kinds(origin)


@pytest.mark.parametrize("place", [".", "orders"])
def test_orders_that_cannot_be_listed_stop_orders_and_nothing_else(origin: Origin, place: str) -> None:
    """Nothing is ordered until it is known what was; the start, and what serves, does not depend on it."""
    before, daemon = origin.ca.orders(), origin.daemon
    shut = daemon.cache / "+proxyd" / place
    with origin.started(lambda cache: (cache / "+proxyd" / place).chmod(0)) as client:
        daemon.wait_for("this process orders no certificates")
        told = command(daemon, "status")
        assert told.status == 1, told.err
        assert f"chmod u+rwx {shut}" in told.out
        assert origin.ca.orders() == before
        shut.chmod(0o700)
        client.wait_for([CUT, REVOKED], daemon=daemon)
        daemon.wait_for("certificate issued")
        eventually(lambda: "chmod" not in command(daemon, "status").out, what=daemon.log)
    assert origin.ca.orders() - before == (place == "orders")  # of REVOKED, whose mark cannot be read either in "."
    assert "order resumed" in kinds(origin)


def test_no_copy_is_trusted_while_the_marks_cannot_be_read(origin: Origin) -> None:
    daemon, clock = origin.daemon, SystemClock()
    marks = daemon.cache / "+proxyd" / "condemned"

    def harm(cache: Path) -> None:
        store = DirectoryStore(cache, clock=clock)
        archive = Archive(store.inside("generations"), store.inside("condemned"))
        archive.add(REVOKED, Certificate.parse((cache / REVOKED).read_bytes()))
        (cache / REVOKED).unlink()
        marks.chmod(0)

    with origin.started(harm) as client:
        client.wait_for([REVOKED], daemon=daemon)
        assert client.leaf(REVOKED) != origin.leaves[REVOKED]
        marks.chmod(0o700)
    assert said(origin, "the marks of what must never load again cannot be read")


def only_file_in(place: Path) -> Path:
    (found,) = place.iterdir()
    return found


def journal(cache: Path, part: str = "") -> Path:
    return cache / "+proxyd" / f"journal.sqlite3{part}"


def said(origin: Origin, text: str) -> bool:
    return any(text in line for line in origin.complaints())


def kinds(origin: Origin) -> set[str]:
    return {kind for (kind,) in origin.daemon.journal("SELECT kind FROM event")}
