"""`proxyd revoke`: the CA says revoked, clients see the successor, and the old one never comes back."""

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pebble.server import Pebble
from proxyd.certs.certificate import Certificate
from proxyd.core.hostname import Hostname
from proxyd.daemon.system_clock import SystemClock
from proxyd.store.certificate_store import CertificateStore
from proxyd.store.directory import DirectoryStore
from tests.support.certs import make_pem
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer, problem
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


def test_only_a_compromised_key_passes_our_ceiling(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    """Also when the journal was lost: the cache tells of the certificates of today."""
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        assert command(daemon, "renew", HOST).status == 0
        # An order that is there still would tell where the certificate came from.
        eventually(lambda: not any((daemon.cache / "+proxyd" / "orders").iterdir()))
        assert daemon.stop() == 0
        for file in (daemon.cache / "+proxyd").glob("journal.*"):
            file.unlink()
        daemon.start()
        eventually(lambda: command(daemon, "status").status == 0)
        for what in (["renew", HOST], ["revoke", HOST, "--reason", "superseded"]):
            done = command(daemon, *what)
            assert done.status == 1
            assert f"proxyd renew --force {HOST}" in done.out + done.err
        assert command(daemon, "revoke", HOST, "--reason", "keyCompromise").status == 0


def test_without_a_successor_nothing_is_revoked_unless_it_must_be(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: {"upstream": upstream.port, "acme": {"challenges": ["http-01"]}}}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        pebble.set_dns("add-a", host=HOST, addresses=["127.0.0.2"])  # the name leads away: no validation succeeds
        old, done = serial(client), command(daemon, "revoke", HOST, "--reason", "keyCompromise")
        if not done.status:  # none was needed: PEBBLE_AUTHZREUSE=0 means once in a hundred (`rand.Intn(100) > 0`)
            old, done = serial(client), command(daemon, "revoke", HOST, "--reason", "keyCompromise")
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


@pytest.mark.parametrize("now", [True, False])
def test_a_kill_while_the_ca_revokes_leaves_nothing_usable(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, now: bool
) -> None:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        old, file = serial(client), (daemon.cache / HOST).read_bytes()
        ca.script["revoke"] = lambda answer: replace(answer, delay=20)
        more = ["--now"] if now else []
        with ThreadPoolExecutor(1) as other:
            asked = other.submit(command, daemon, "revoke", HOST, "--reason", "keyCompromise", *more)
            eventually(lambda: ca.asked["revoke"] == 1)
            daemon.stop(signal.SIGKILL)
            assert asked.result().status != 0
        ca.script["revoke"] = lambda _answer: problem("alreadyRevoked")
        (daemon.cache / HOST).write_bytes(file)
        daemon.start()
        client.wait_for([HOST], daemon=daemon)
        assert serial(client) != old
        eventually(lambda: f"certificate {old} was revoked" in command(daemon, "explain", HOST).out)
        assert ca.asked["revoke"] == 2
        (mark,) = (daemon.cache / "+proxyd/condemned").iterdir()
        assert "reason" not in json.loads(mark.read_bytes())


@pytest.mark.parametrize("runs", [False, True])
def test_a_kill_while_the_ca_revokes_loses_no_order_that_has_to_be_given_up(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, runs: bool
) -> None:
    orders = daemon.cache / "+proxyd" / "orders"
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0 and not any(orders.iterdir()))
        old = serial(client)
        if runs:
            ca.script["finalize"] = lambda answer: replace(answer, delay=20)
            assert command(daemon, "renew", "--no-wait", HOST).status == 0
            eventually(lambda: ca.asked["finalize"] == 2)
        else:
            ca.instead["finalize"] = lambda: Answer(status=503, json={})
            assert command(daemon, "renew", HOST).status == 1
        (kept,) = orders.iterdir()
        key = serialization.load_pem_private_key(json.loads(kept.read_bytes())["key"].encode(), None)
        ca.script["revoke"] = lambda answer: replace(answer, delay=20)
        with ThreadPoolExecutor(1) as other:
            asked = other.submit(command, daemon, "revoke", HOST, "--reason", "keyCompromise", "--now")
            eventually(lambda: ca.asked["revoke"] == 1)
            daemon.stop(signal.SIGKILL)
            assert asked.result().status != 0
        ca.instead.clear()
        ca.script.clear()
        ca.script["revoke"] = lambda _answer: problem("alreadyRevoked")
        daemon.start()
        client.wait_for([HOST], daemon=daemon)
        assert serial(client) != old
        assert live_key(daemon).public_key() != key.public_key()
        eventually(lambda: not any(orders.iterdir()))


@pytest.mark.parametrize("has_marked_all", [False, True])
def test_a_kill_lets_no_other_certificate_of_a_compromised_key_serve_on(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, has_marked_all: bool
) -> None:
    """Killed while the CA is asked, or before that, when one mark was written and the other was not."""
    clock = SystemClock()
    store, host = CertificateStore(DirectoryStore(daemon.cache, clock=clock), clock=clock), Hostname(HOST)
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([HOST], daemon=daemon)
        assert daemon.stop() == 0
        live, stolen = Certificate.parse((daemon.cache / HOST).read_bytes()), live_key(daemon)
        kept = Certificate.parse(make_pem(HOST, begin=clock.now() - timedelta(days=9), key=stolen))
        store.save(host, kept)
        store.save(host, live)
        if has_marked_all:
            daemon.start()
            eventually(lambda: command(daemon, "status").status == 0)
            ca.script["revoke"] = lambda answer: replace(answer, delay=20)
            with ThreadPoolExecutor(1) as other:
                asked = other.submit(command, daemon, "revoke", HOST, "--reason", "keyCompromise", "--now")
                eventually(lambda: ca.asked["revoke"] == 1)
                daemon.stop(signal.SIGKILL)
                assert asked.result().status != 0
        else:
            store.intend(host, live, "revoking: keyCompromise", 1)
        ca.script["revoke"] = lambda _answer: problem("alreadyRevoked")
        daemon.start()
        eventually(lambda: (daemon.cache / HOST).exists() and live_key(daemon).public_key() != stolen.public_key())
        eventually(lambda: ca.asked["revoke"] == 2 + has_marked_all)
        assert ca.orders() == 2
        eventually(lambda: [one for one in (live, kept) if not store.is_condemned(one)] == [])
        assert store.intended() == []


def test_what_the_ca_refuses_to_revoke_stays_usable(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([HOST], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        old = serial(client)
        ca.script["revoke"] = lambda _answer: problem("badRevocationReason")
        ca.script["order"] = lambda _answer: problem("serverInternal", 500)
        assert command(daemon, "revoke", HOST, "--reason", "keyCompromise", "--now").status == 1
        assert [*(daemon.cache / "+proxyd/condemned").iterdir()] == []
        assert daemon.stop() == 0
        daemon.start()
        client.wait_for([HOST], daemon=daemon)
        assert serial(client) == old


def serial_of_file(daemon: DaemonProcess) -> str:
    return f"{x509.load_pem_x509_certificates((daemon.cache / HOST).read_bytes())[0].serial_number:x}"


@pytest.mark.parametrize(("reason", "reaches_the_kept"), [("keyCompromise", True), ("superseded", False)])
def test_a_compromised_key_takes_the_kept_generations_with_it(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, reason: str, reaches_the_kept: bool
) -> None:
    """Other programs renew with the key of before; a certificate with a key of its own stays."""
    clock = SystemClock()
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port) as ca:
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([HOST], daemon=daemon)
        assert daemon.stop() == 0
        store = CertificateStore(DirectoryStore(daemon.cache, clock=clock), clock=clock)
        live = Certificate.parse((daemon.cache / HOST).read_bytes())
        begin = clock.now() - timedelta(days=9)
        with_its_key = Certificate.parse(make_pem(HOST, begin=begin, key=live_key(daemon)))
        other = Certificate.parse(make_pem(HOST, begin=begin - timedelta(days=9)))
        for one in (other, with_its_key, live):
            store.save(Hostname(HOST), one)
        daemon.start()
        eventually(lambda: command(daemon, "status").status == 0)
        done = command(daemon, "revoke", HOST, "--reason", reason)
        assert done.status == 0, done.out + done.err
        assert store.is_condemned(live)
        assert store.is_condemned(with_its_key) is reaches_the_kept
        assert not store.is_condemned(other)
        assert ca.asked["revoke"] == 1 + reaches_the_kept


@pytest.mark.parametrize("runs", [False, True])
def test_no_successor_has_a_key_that_lay_beside_the_compromised_one(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, runs: bool
) -> None:
    """The key of an order that waits is not used; of one that runs, the certificate is replaced and revoked as well."""
    orders = daemon.cache / "+proxyd" / "orders"

    def in_trouble() -> Answer:
        return Answer(status=503, json={})

    def slow(answer: Answer) -> Answer:
        answer.delay = 3
        return answer

    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        HttpsClient(daemon.https_port, ca.root()).wait_for([HOST], daemon=daemon)
        eventually(lambda: not any(orders.iterdir()))
        old = serial_of_file(daemon)
        if runs:
            ca.script["finalize"] = slow
            assert command(daemon, "renew", "--no-wait", HOST).status == 0
        else:
            ca.instead["finalize"] = in_trouble
            assert command(daemon, "renew", HOST).status == 1
        eventually(lambda: any(orders.iterdir()))
        (kept,) = orders.iterdir()
        key = serialization.load_pem_private_key(json.loads(kept.read_bytes())["key"].encode(), None)
        ca.instead.clear()
        done = command(daemon, "revoke", HOST, "--reason", "keyCompromise")
        assert done.status == 0, done.out + done.err
        assert live_key(daemon).public_key() != key.public_key()
        assert f"certificate {old} revoked" in done.out
        assert ca.asked["revoke"] == 1 + runs
        eventually(lambda: not any(orders.iterdir()))


def live_key(daemon: DaemonProcess) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key((daemon.cache / HOST).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def test_what_the_cache_holds_of_a_host_that_is_gone_is_revoked_without_a_successor(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port, "two.example.test": upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST, "two.example.test"], daemon=daemon)
        assert daemon.stop() == 0
        old, orders = serial_of_file(daemon), pebble.orders()
        daemon.configure({"two.example.test": upstream.port}, pebble=pebble)
        daemon.start()
        client.wait_for(["two.example.test"], daemon=daemon)
        done = command(daemon, "revoke", HOST, "--reason", "keyCompromise")
        assert (done.status, done.err) == (0, ""), done.out
        assert f"certificate {old} revoked" in done.out
        assert pebble.status_of(old) == ("Revoked", 1)
        assert not (daemon.cache / HOST).exists()
        assert pebble.orders() == orders
        assert command(daemon, "revoke", HOST, "--reason", "keyCompromise").status == 2  # nothing is left


def test_a_shared_certificate_is_found_by_any_of_its_names(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    alias, other = "www.one.example.test", "two.example.test"
    shared = {"upstream": upstream.port, "aliases": [alias], "certificate": "shared"}
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: shared, other: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST, alias, other], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        old = serial_of_file(daemon)
        daemon.configure({HOST: upstream.port, other: upstream.port}, pebble=pebble)
        assert daemon.stop() == 0
        daemon.start()
        eventually(lambda: command(daemon, "status").status == 0)
        done = command(daemon, "revoke", alias, "--reason", "superseded")  # it serves the first name yet
        assert done.status == 2
        assert f"`proxyd revoke {HOST}`" in done.err
        daemon.configure({other: upstream.port}, pebble=pebble)
        assert daemon.stop() == 0
        daemon.start()
        eventually(lambda: command(daemon, "status").status == 0)
        done = command(daemon, "revoke", alias, "--reason", "keyCompromise")
        assert (done.status, done.err) == (0, ""), done.out
        assert pebble.status_of(old) == ("Revoked", 1)
        assert not (daemon.cache / HOST).exists()


@pytest.mark.parametrize("by_reload", [True, False])
def test_a_certificate_that_only_stands_in_is_not_taken_from_the_host_that_it_is_of(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, by_reload: bool
) -> None:
    other, acme = "two.example.test", {"challenges": ["http-01"]}
    one: dict[str, object] = {"upstream": upstream.port, "acme": acme}
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: {**one, "aliases": [other], "certificate": "shared"}}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST, other], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        old = serial(client)
        if not by_reload:
            assert daemon.stop() == 0
        pebble.set_dns("add-a", host=other, addresses=["127.0.0.2"])  # it gets none of its own
        daemon.configure({HOST: one, other: one}, pebble=pebble)
        if by_reload:
            daemon.reload()
        else:
            daemon.start()
            client.wait_for([HOST, other], daemon=daemon)
        eventually(lambda: "No certificate of its own" in command(daemon, "explain", other).out)
        for now in ([], ["--now"]):
            done = command(daemon, "revoke", other, "--reason", "superseded", *now)
            assert done.status == 2
            assert f"`proxyd revoke {HOST}`" in done.err
        assert (serial(client), pebble.status_of(old)[0]) == (old, "Valid")
        assert command(daemon, "revoke", HOST, "--reason", "superseded").status == 0
        assert pebble.status_of(old)[0] == "Revoked"
        assert serial(client) != old
