"""`proxyd revoke`: the CA says revoked, clients see the successor, and the old one never comes back."""

import shutil
from pathlib import Path

import pytest
from cryptography import x509

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST = "one.example.test"


def serial(client: HttpsClient) -> str:
    return f"{x509.load_der_x509_certificate(client.leaf(HOST)).serial_number:x}"


@pytest.mark.parametrize(("reason", "code", "now"), [("keyCompromise", 1, False), ("4", 4, True)])
def test_replaced_and_revoked(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, reason: str, code: int, now: bool
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        old, file = serial(client), (daemon.cache / HOST).read_bytes()
        done = command(daemon, "revoke", HOST, "--reason", reason, *(["--now"] if now else []))
        assert done.status == 0, done.err
        assert f"certificate {old} revoked" in done.out
        new = serial(client)
        assert new != old
        assert pebble.status_of(old) == ("Revoked", code)
        assert pebble.status_of(new)[0] == "Valid"
        told = command(daemon, "explain", HOST).out
        assert f"certificate {old} was revoked" in told
        assert daemon.stop() == 0
        (daemon.cache / HOST).write_bytes(file)  # somebody puts a backup back
        daemon.start()
        assert serial(client) == new


def test_without_a_successor_nothing_is_revoked_unless_it_must_be(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: {"upstream": upstream.port, "acme": {"challenges": ["http-01"]}}}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        old = serial(client)
        pebble.set_dns("add-a", host=HOST, addresses=["127.0.0.2"])  # the name leads away: no validation succeeds
        done = command(daemon, "revoke", HOST, "--reason", "keyCompromise")
        assert done.status == 1
        assert "--now` revokes all the same" in done.err
        assert pebble.status_of(old)[0] == "Valid"
        assert serial(client) == old
        done = command(daemon, "revoke", HOST, "--reason", "keyCompromise", "--now")
        assert done.status == 1
        assert pebble.status_of(old) == ("Revoked", 1)
        assert command(daemon, "revoke", HOST).status == 2
        assert command(daemon, "revoke", HOST, "--reason", "holiday").status == 2
        assert command(daemon, "revoke", "no.example.test", "--reason", "1").status == 2


def test_a_certificate_of_a_lost_account_is_revoked_by_its_own_key(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        assert daemon.stop() == 0
        old = serial_of_file(daemon)
        (daemon.cache / "acme_account+key").unlink()
        shutil.rmtree(daemon.cache / "+proxyd")
        daemon.start()
        eventually(lambda: command(daemon, "status").status == 0)
        done = command(daemon, "revoke", HOST, "--reason", "superseded")
        assert done.status == 0, done.out + done.err
        assert pebble.status_of(old)[0] == "Revoked"


def serial_of_file(daemon: DaemonProcess) -> str:
    return f"{x509.load_pem_x509_certificates((daemon.cache / HOST).read_bytes())[0].serial_number:x}"
