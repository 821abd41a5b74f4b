"""`proxyd renew` and `explain` against a real daemon and a real CA."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from pebble.server import Pebble, free_port
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"
NOWHERE = {"server": "https://127.0.0.1:1/dir"}


def served_serial(client: HttpsClient, host: str) -> str:
    return f"{x509.load_der_x509_certificate(client.leaf(host)).serial_number:x}"


def test_a_wish_is_fulfilled_within_our_ceiling(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: upstream.port, OTHER: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST, OTHER], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)
        before = {host: served_serial(client, host) for host in (HOST, OTHER)}
        done = command(daemon, "renew", "--json", HOST)
        assert done.status == 0
        (result,) = done.json["results"].values()
        assert result["result"] == "renewed"
        assert served_serial(client, HOST) == result["serial"] != before[HOST]
        assert served_serial(client, OTHER) == before[OTHER]
        while (done := command(daemon, "renew", HOST)).status == 0:
            assert pebble.orders() < 12
        assert done.status == 1
        assert f"proxyd renew --force {HOST} goes past this" in done.out
        assert len(done.out.splitlines()) == done.out.count(" UTC") == 1
        assert done.out.count(HOST) == 2  # whose certificate, and in the command
        assert command(daemon, "status").status == 0  # a ceiling is nobody's trouble
        row = command(daemon, "status", "--json").json["hosts"][HOST]
        assert (row["state"], row["next_try"]) == ("ready", None)
        left = datetime.fromisoformat(row["renew_at"]) - datetime.now(UTC)
        assert left > timedelta(days=30)  # as planned
        assert "Our own ceiling holds" in command(daemon, "explain", HOST).out
        assert command(daemon, "renew", "--force", HOST).status == 0
        everything = command(daemon, "renew", "--all", "--json")
        assert (everything.status, everything.json["count"]) == (0, 2)
        eventually(lambda: served_serial(client, OTHER) != before[OTHER])


def test_wrong_input_and_no_daemon(daemon: DaemonProcess, upstream: Upstream) -> None:
    daemon.configure({HOST: upstream.port, OTHER: upstream.port}, acme=NOWHERE)
    daemon.start()
    daemon.wait_for("control socket")
    for wrong in (["renew"], ["renew", "--all", HOST], ["renew", "--force", HOST, OTHER], ["renew", "no.example.test"]):
        assert command(daemon, *wrong).status == 2, wrong
    for forced in (["--force"], ["--force", "--all"]):
        assert "--force takes one host" in command(daemon, "renew", *forced).err
    for wild in (["renew"], ["revoke", "--reason", "unspecified"]):
        done = command(daemon, *wild, "*.example.test")
        assert (done.status, done.out) == (2, "")
        assert "*.example.test has no certificate of its own: name one of the names under it" in done.err
    assert command(daemon, "explain", "no.example.test").status == 2
    assert command(daemon, "explain", "a b").status == 2
    assert daemon.stop() == 0
    done = command(daemon, "renew", HOST)
    assert done.status == 3
    assert "no daemon answers" in done.err
    assert command(daemon, "explain", "no.example.test").status == 2


def test_a_renewal_that_fails_says_until_when(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=1, tls_port=1) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        daemon.wait_for("failures=1")
        orders = pebble.orders()
        done = command(daemon, "renew", HOST)
        assert done.status == 1
        assert f"{HOST} (p256): not before " in done.out
        assert "could not validate the name" in done.out
        assert pebble.orders() > orders
        told = command(daemon, "explain", HOST)
        assert told.status == 1
        assert "no validation request arrived here" in told.out
        assert "a person asked for a new certificate (user " in told.out
        assert f"Let the A and AAAA records of {HOST} point to this machine" in told.out


def test_what_arrived_is_told_with_and_without_a_daemon(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(
        tmp_path / "pebble", http_port=daemon.http_port, tls_port=free_port(), lifetime=timedelta(days=20)
    ) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        eventually(lambda: "wants it replaced between" in command(daemon, "explain", HOST).out)
        told = command(daemon, "explain", "--json", HOST)
        assert told.status == 0
        hits = [one["fields"] for one in told.json["events"] if one["kind"] == "challenge request"]
        assert {one["by"] for one in hits} == {"http-01"}
        assert all(one["client"] == "127.0.0.1" and len(one["token"]) >= 16 for one in hits)
        assert "LetsEncrypt-Pebble-VA" in hits[0]["agent"]
        assert daemon.stop() == 0
        down = command(daemon, "explain", "--json", HOST)
        assert (down.status, down.json["from"]) == (0, "cache")
        assert down.json["events"] == told.json["events"]
        assert "Start the daemon" in command(daemon, "explain", HOST).out


def test_the_ca_reached_another_machine(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=upstream.port, tls_port=1) as pebble:
        daemon.configure({HOST: upstream.port}, pebble=pebble)
        daemon.start()
        daemon.wait_for("failures=1")
        assert "but nothing arrived here: your A record points elsewhere" in command(daemon, "explain", HOST).out
