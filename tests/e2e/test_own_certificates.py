"""Certificates of the operator's own: served, read again when their files change, checked, told of; never ordered."""

import html
import json
import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.support.cached import NO_CA, get, keep_certificates, reload, status, tls
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.own_files import TestCa, put
from tests.support.processes import issuer, replaced, workers
from tests.support.receiver import receiver
from tests.support.upstream import Upstream

HOST, OTHER, ALIAS = "one.example.test", "two.example.test", "alias.example.test"
DAY = timedelta(days=1)
CA = TestCa()


@pytest.fixture(params=[1, 2])
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    return tmp_path / "own.crt"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "own.key"


def own(upstream: Upstream, cert: Path, key: Path | None, **more: object) -> dict[str, object]:
    files = {"cert": str(cert)} | ({"key": str(key)} if key else {})
    return {"upstream": upstream.port, "tls": files, **more}


def configure(daemon: DaemonProcess, hosts: Mapping[str, object], **more: Any) -> None:
    """Show all on an admin port beside the port of HTTP."""
    daemon.configure({**hosts}, acme=NO_CA, admin={"listen": f"127.0.0.2:{daemon.http_port}"}, **more)


def start(daemon: DaemonProcess, hosts: Mapping[str, object], **more: Any) -> None:
    configure(daemon, hosts, **more)
    daemon.start()
    daemon.wait_for("control socket")


def shown(daemon: DaemonProcess, host: str = HOST) -> str | None:
    """Return the serial of the leaf that a client accepts which knows the root alone, or None: it refuses."""
    try:
        leaf = HttpsClient(daemon.https_port, CA.root).leaf(host)
    except OSError:
        return None
    return f"{x509.load_der_x509_certificate(leaf).serial_number:x}"


def shows(daemon: DaemonProcess, serial: str | None, host: str = HOST) -> None:
    eventually(lambda: shown(daemon, host) == serial, what=daemon.log)


def row(daemon: DaemonProcess, host: str = HOST) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page(daemon, "/status.json"))["hosts"][host]
    return found


def page(daemon: DaemonProcess, path: str) -> str:
    with urlopen(f"http://127.0.0.2:{daemon.http_port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_pair_serves_and_is_replaced(
    daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path, number: int
) -> None:
    first, second = CA.issue(HOST, ALIAS), CA.issue(HOST, ALIAS)
    first.put(cert, key)
    keep_certificates(daemon, OTHER)
    hosts = {HOST: own(upstream, cert, key, aliases=[ALIAS]), OTHER: upstream.port}
    start(daemon, hosts, workers=number)
    for host in (HOST, ALIAS):
        shows(daemon, first.serial, host)
    assert status(HttpsClient(daemon.https_port, CA.root).get(HOST)) == 200
    found = row(daemon)
    assert (found["state"], found["issuer"], found["serial"]) == ("manual", "Test Intermediate", first.serial)
    assert (found["renew_at"], found["last_error"], found["needs_a_person"]) == (None, None, False)
    second.put(cert, key)
    shows(daemon, second.serial)
    shows(daemon, second.serial, ALIAS)
    assert row(daemon)["serial"] == second.serial

    third = CA.issue(HOST, ALIAS)
    put(cert, third.chain)  # the key comes later: no client sees a difference
    daemon.wait_for(f"{cert}: the key in {key} does not belong to the certificate")
    assert shown(daemon) == second.serial
    assert "does not belong" in row(daemon)["last_error"]
    put(key, third.key, mode=0o600)
    shows(daemon, third.serial)
    cert.unlink()
    daemon.wait_for(f"{cert}: cannot be read (No such file or directory)")
    assert shown(daemon) == third.serial
    assert status(tls(daemon.https_port, OTHER, get(OTHER))) == 200
    assert "nothing renews it" in page(daemon, f"/status/{HOST}")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_the_fix_of_a_chain_reaches_all_processes(
    daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path, number: int
) -> None:
    one = CA.issue(HOST)
    one.put(cert, key)
    put(cert, one.leaf)
    start(daemon, {HOST: own(upstream, cert, key)}, workers=number)
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert shown(daemon) is None, "without the intermediate a client that knows the root refuses"
    told = page(daemon, f"/status/{HOST}")
    assert "leaf only: Go clients will fail with unknown authority" in told
    assert "Append the intermediate, the certificate of CN=Test Intermediate." in told
    assert row(daemon)["needs_a_person"]
    put(cert, one.chain)  # the same leaf
    for _ in range(3):
        shows(daemon, one.serial)
    assert not row(daemon)["needs_a_person"]


def test_one_broken_pair_is_the_trouble_of_its_host(
    daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, cert: Path, key: Path
) -> None:
    good = CA.issue(HOST)
    good.put(cert, key)
    (locked := tmp_path / "locked.key").write_bytes(
        good.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    hosts = {
        HOST: own(upstream, cert, key, aliases=[ALIAS]),
        "gone.example.test": own(upstream, tmp_path / "gone.pem", None),
        "swapped.example.test": own(upstream, key, cert),
        "locked.example.test": own(upstream, cert, locked),
    }
    start(daemon, hosts)
    shows(daemon, good.serial)
    for host, says in (
        (ALIAS, f"{cert}: the certificate is not for {ALIAS}, but for {HOST}: "),
        ("gone.example.test", f"{tmp_path / 'gone.pem'}: cannot be read (No such file or directory)"),
        ("swapped.example.test", "exchange the values of cert and key"),
        ("locked.example.test", "the private key is encrypted, and nobody is ever asked for its password"),
    ):
        with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
            tls(daemon.https_port, host, b"")
        found = row(daemon, host)
        assert found["state"] == "missing"
        assert says in str(found["last_error"])
        assert says in html.unescape(page(daemon, f"/status/{host}"))
    checked = command(daemon, "check")
    assert checked.status == 2
    places = [line.partition(": ")[0] + line.split(": ")[1] for line in checked.err.splitlines()]
    assert [place.partition("hosts.")[2] for place in places] == [
        "gone.example.test.tls.cert",
        "locked.example.test.tls.key",
        f"{HOST}.tls.cert",
        "swapped.example.test.tls.cert",
    ]
    both = CA.issue(HOST, ALIAS)
    both.put(cert, key)
    shows(daemon, both.serial, ALIAS)


def test_from_acme_to_files_and_back_nobody_is_refused(
    daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path, number: int
) -> None:
    keep_certificates(daemon, HOST)
    start(daemon, {HOST: upstream.port}, workers=number)
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    before = row(daemon)["serial"]
    configure(daemon, {HOST: own(upstream, cert, key)}, workers=number)
    reload(daemon)  # there are no files yet: what served serves on
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    found = row(daemon)
    assert (found["state"], found["serial"]) == ("manual", before)
    assert "No such file" in str(found["last_error"])
    one = CA.issue(HOST)
    one.put(cert, key)
    shows(daemon, one.serial)
    assert row(daemon)["last_error"] is None
    (daemon.cache / HOST).unlink()
    configure(daemon, {HOST: upstream.port}, workers=number)
    reload(daemon)  # nobody orders: what served stands in
    assert shown(daemon) == one.serial
    assert row(daemon)["state"] in ("ordering", "waiting", "missing")
    configure(daemon, {HOST: own(upstream, cert, key)}, workers=number)
    reload(daemon)
    assert shown(daemon) == one.serial
    assert row(daemon)["state"] == "manual"


def test_processes_that_are_replaced_have_it_too(
    daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path
) -> None:
    one, two = CA.issue(HOST), CA.issue(HOST)
    one.put(cert, key)
    start(daemon, {HOST: own(upstream, cert, key)}, workers=2)
    shows(daemon, one.serial)
    for pid in workers(daemon):
        replaced(daemon, pid)
    shows(daemon, one.serial)
    replaced(daemon, issuer(daemon))
    two.put(cert, key)
    shows(daemon, two.serial)
    for pid in workers(daemon):
        replaced(daemon, pid)
    shows(daemon, two.serial)


def test_its_end_is_told_and_its_successor_too(
    daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path
) -> None:
    ending, fresh = CA.issue(HOST, begins=-80 * DAY, lasts=90 * DAY), CA.issue(HOST)
    ending.put(cert, key)
    with receiver() as people:
        hosts = {HOST: own(upstream, cert, key)}
        start(daemon, hosts, alerts=[{"webhook": people.url}], workers=1)
        eventually(lambda: people.documents, what=daemon.log)
        told = people.documents[0]
        assert (told["kind"], told["escalation"]) == ("own_certificate_ending", "one_fifth_left")
        assert told["troubles"][0]["hosts"] == [HOST]
        assert str(cert) in told["troubles"][0]["to_do"]
        shown_row = command(daemon, "status")
        assert shown_row.status == 1
        assert "manual" in shown_row.out
        assert "nothing renews it" in shown_row.out
        ends = ending.certificate.not_valid_after_utc.timestamp()
        samples = dict(line.rsplit(" ", 1) for line in page(daemon, "/metrics").splitlines() if line[0] != "#")
        assert float(samples[f'proxyd_certificate_not_after_timestamp_seconds{{host="{HOST}"}}']) == ends
        story = page(daemon, f"/status/{HOST}")
        assert "manual" in story
        assert str(cert) in story
        assert f"tls.cert: warning: {cert}: the certificate expires at" in command(daemon, "check").err
        fresh.put(cert, key)
        eventually(lambda: [one["event"] for one in people.documents] == ["problem", "resolved"], what=daemon.log)
    assert command(daemon, "status").status == 0


def test_an_expired_successor_replaces_nothing_that_is_valid(
    daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path
) -> None:
    good, old = CA.issue(HOST), CA.issue(HOST, begins=-30 * DAY, lasts=20 * DAY)
    good.put(cert, key)
    start(daemon, {HOST: own(upstream, cert, key)}, workers=1)
    shows(daemon, good.serial)
    old.put(cert, key)
    daemon.wait_for("the certificate expired at")
    assert shown(daemon) == good.serial
    assert row(daemon)["state"] == "manual"
    daemon.stop()
    daemon.start()  # now there is nothing better: clients see an expired one, and no alert that tells them nothing
    daemon.wait_for("control socket")
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert row(daemon)["state"] == "missing"
    assert command(daemon, "check").status == 2


def test_without_a_daemon_the_files_are_looked_at(
    daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path
) -> None:
    one = CA.issue(HOST)
    one.put(cert, key)
    configure(daemon, {HOST: own(upstream, cert, key)})
    told = command(daemon, "status", "--json")
    assert told.status == 0
    assert (told.json["from"], told.json["hosts"][HOST]["state"]) == ("cache", "manual")
    assert "nothing renews it" in command(daemon, "explain", HOST).out
    assert command(daemon, "plan").status == 0


def test_nothing_is_ordered_by_hand_either(daemon: DaemonProcess, upstream: Upstream, cert: Path, key: Path) -> None:
    CA.issue(HOST).put(cert, key)
    start(daemon, {HOST: own(upstream, cert, key)}, workers=1)
    for asked in (("renew", HOST), ("revoke", HOST, "--reason", "superseded")):
        done = command(daemon, *asked)
        assert done.status == 1, done
        assert f"{HOST} has a certificate of your own, {cert}" in done.err
