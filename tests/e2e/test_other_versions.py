"""Directories of other versions: what one before it left is served, what a later one added is passed over."""

import json
import sqlite3
import tarfile
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.cached import tls_leaf
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess, HttpsClient
from tests.support.fake_ca import FakeCa
from tests.support.kept_cache import ALIAS, HOSTS, LOST, ONE, SERVER, SHARED, TWO
from tests.support.upstream import Upstream

HOST = "one.example.test"
#: Each was made by the version in its name (tests/support/kept_cache.py).
CACHES = sorted((ROOT / "tests" / "caches").glob("*.tar.gz"))


def use_as_a_later_version(daemon: DaemonProcess) -> None:
    """Write what a version may add that wants the one before it to go on: files, tables, columns, keys, kinds."""
    private = daemon.cache / "+proxyd"
    (private / "novelties").mkdir(mode=0o700)
    (private / "novelties" / "one").write_text("what is this?")
    (private / "novelty").write_text("and this?")
    (daemon.cache / f"{HOST}+novelty").write_text("a third kind of key")
    with closing(sqlite3.connect(private / "journal.sqlite3")) as journal, journal:
        journal.execute("CREATE TABLE novelty (name TEXT)")
        for table in ("event", "state"):
            journal.execute(f"ALTER TABLE {table} ADD COLUMN novelty TEXT")
        for name, document in journal.execute("SELECT name, document FROM state").fetchall():
            if isinstance(found := json.loads(document), dict):
                changed = json.dumps({**found, "novelty": [1, {"a": None}]})
                journal.execute("UPDATE state SET document = ? WHERE name = ?", (changed, name))
        journal.execute("INSERT INTO state (name, document) VALUES ('novelty', '[1]')")
        event = ("2026-11-24T00:00:00+00:00", HOST, "novelty seen", "https://ca.example", '{"of": [1]}')
        journal.execute("INSERT INTO event (at, host, kind, issuer, fields) VALUES (?, ?, ?, ?, ?)", event)


def test_version_n_serves_from_the_directory_of_the_one_after_it(daemon: DaemonProcess, upstream: Upstream) -> None:
    with FakeCa(daemon.directory / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([HOST], daemon=daemon)
        daemon.wait_for("renewal placed in the CA's window")
        leaf, ready = client.leaf(HOST), command(daemon, "status", "--json").json["hosts"][HOST]
        assert daemon.stop() == 0
        use_as_a_later_version(daemon)
        daemon.forget_log()
        daemon.start()
        client.wait_for([HOST], daemon=daemon)
        assert client.leaf(HOST) == leaf
        told = command(daemon, "status", "--json")
        assert told.status == 0
        placed = [datetime.fromisoformat(one["renew_at"]) for one in (told.json["hosts"][HOST], ready)]
        assert abs(placed[0] - placed[1]) < timedelta(minutes=1)  # in the window that was kept
        assert command(daemon, "explain", HOST).status == 0
        assert ca.orders() == 1
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()
    assert "broken" not in daemon.log()
    assert (daemon.cache / "+proxyd" / "novelties" / "one").read_text() == "what is this?"
    assert (daemon.cache / "+proxyd" / "novelty").exists()
    assert (daemon.cache / f"{HOST}+novelty").exists()
    assert daemon.journal("SELECT count(*) FROM event WHERE kind = 'novelty seen'") == [(1,)]


def _leaf(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(file.read_bytes())[0]


@pytest.mark.parametrize("packed", CACHES, ids=lambda one: one.name.removesuffix(".tar.gz"))
def test_what_an_earlier_version_left_is_served_and_known(packed: Path, daemon: DaemonProcess) -> None:
    with tarfile.open(packed) as one:
        if hasattr(tarfile, "data_filter"):  # Debian 12's Python has none
            one.extraction_filter = tarfile.data_filter
        one.extractall(daemon.directory)
    files = {one.name: one.read_bytes() for one in daemon.cache.iterdir() if one.is_file()}
    assert files.keys() == {"acme_account+key", ONE, TWO, f"{TWO}+rsa", SHARED}
    daemon.configure(HOSTS, acme={"server": SERVER})
    daemon.start()
    for host in (ONE, TWO, SHARED, ALIAS):
        file = daemon.cache / (SHARED if host == ALIAS else host)
        assert x509.load_der_x509_certificate(tls_leaf(daemon.https_port, host)) == _leaf(file)
    rows = command(daemon, "status", "--json").json["hosts"]
    for host in (ONE, TWO, SHARED, ALIAS):
        row = rows[host]
        assert (row["state"], row["issuer"], row["failures"]) == ("ready", SERVER, 0)
        assert row["renew_at"].startswith("2040-01-")  # in the CA's window, which is not asked for again
    assert rows[LOST]["state"] in ("waiting", "ordering")
    assert "unauthorized (HTTP 403): not for you" in command(daemon, "explain", LOST).out
    told = command(daemon, "explain", ONE).out
    assert told.count(f"{SERVER} gave certificate") == 2
    assert daemon.stop() == 0
    assert {one.name: one.read_bytes() for one in daemon.cache.iterdir() if one.is_file()} == files
    assert not [*(daemon.cache / "+proxyd" / "aside").iterdir()]
    for word in ("Traceback", "broken", "order placed"):
        assert word not in daemon.log()
