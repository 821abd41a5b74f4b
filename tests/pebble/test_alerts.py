"""People are told by a real daemon that gets no certificate from a real CA, once, and when it is over."""

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from pebble.server import Pebble, free_port
from tests.support.certs import make_pem
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.private_ca import PrivateCa
from tests.support.receiver import receiver
from tests.support.scrape import scrape
from tests.support.smtp_server import PASSWORD, USER, smtp_server
from tests.support.upstream import Upstream

HOST = "one.example.test"


def test_a_host_without_a_certificate_is_told_once_over_restarts_and_its_end_too(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with (
        Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble,
        receiver() as server,
    ):
        pebble.set_dns("set-default-ipv4", ip="127.0.0.9")  # nothing of ours listens there
        alerts = [{"webhook": server.url, "secret": "s3cret"}]
        daemon.configure({HOST: upstream.port}, pebble=pebble, alerts=alerts, resolvers=[pebble.dns])
        daemon.start()
        eventually(lambda: server.received, what=daemon.log)
        (problem,) = server.documents
        assert (problem["event"], problem["kind"]) == ("problem", "renewal_failed")
        assert (problem["severity"], problem["escalation"]) == ("critical", "nothing_serves")
        (trouble,) = problem["troubles"]
        assert trouble["hosts"] == [HOST]
        assert "no validation request arrived here" in trouble["reason"]
        assert f"A and AAAA records of {HOST}" in trouble["to_do"]
        assert trouble["next_try"] is not None
        assert daemon.stop() == 0
        daemon.forget_log()
        daemon.start()
        assert command(daemon, "renew", HOST).status == 1  # fails once more, and is known
        pebble.set_dns("set-default-ipv4", ip="127.0.0.1")
        assert command(daemon, "renew", HOST).status == 0
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        eventually(lambda: len(server.received) > 1, what=daemon.log)
        assert daemon.stop() == 0
    _, resolved = server.documents
    assert (resolved["event"], resolved["kind"], resolved["severity"]) == ("resolved", "renewal_failed", "info")
    assert resolved["troubles"][0]["hosts"] == [HOST]
    assert "s3cret" not in daemon.log()
    assert "/a/path" not in daemon.log()


def test_it_is_told_ever_more_urgently_as_the_certificate_runs_out(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    """A certificate of two minutes with forty seconds left; each reload has the troubles looked at."""
    life, left = timedelta(seconds=120), timedelta(seconds=40)
    with (
        Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble,
        receiver() as server,
    ):
        pebble.set_dns("set-default-ipv4", ip="127.0.0.9")
        daemon.configure({HOST: upstream.port}, pebble=pebble, alerts=[{"webhook": server.url}], resolvers=[pebble.dns])
        daemon.cache.mkdir(mode=0o700)
        (daemon.cache / HOST).write_bytes(make_pem(HOST, lifetime=life, begin=datetime.now(UTC) + left - life))
        (daemon.cache / HOST).chmod(0o600)
        ends = x509.load_pem_x509_certificates((daemon.cache / HOST).read_bytes())[0].not_valid_after_utc
        daemon.start()
        looked = 0.0

        def has_run_out() -> bool:
            nonlocal looked
            if (now := time.monotonic()) - looked > 1:
                looked = now
                daemon.reload()
            return any(one["escalation"] == "nothing_serves" for one in server.documents)

        eventually(has_run_out, what=daemon.log, seconds=60)
        pebble.set_dns("set-default-ipv4", ip="127.0.0.1")
        assert command(daemon, "renew", HOST).status == 0
        eventually(lambda: server.documents[-1]["event"] == "resolved", what=daemon.log)
        assert daemon.stop() == 0
    steps = ["noticed", "one_fifth_left", "one_tenth_left", "one_twentieth_left", "nothing_serves"]
    *problems, resolved = server.documents
    assert [one["escalation"] for one in problems] == steps
    assert [one["severity"] for one in problems] == ["warning"] * 2 + ["critical"] * 3
    assert {one["kind"] for one in server.documents} == {"renewal_failed"}
    assert {one["event"] for one in problems} == {"problem"}
    for one, share in zip(problems[:-1], (1, 5, 10, 20), strict=True):
        (trouble,) = one["troubles"]
        assert datetime.fromisoformat(trouble["runs_out_at"]) == ends
        assert datetime.fromisoformat(one["at"]) >= ends - life / share
        assert f"Runs out of road at {ends:%Y-%m-%d %H:%M} UTC: from then on clients are refused." in one["text"]
        assert f"A and AAAA records of {HOST}" in trouble["to_do"]
    assert problems[-1]["troubles"][0]["runs_out_at"] is None
    assert "clients are refused" in problems[-1]["summary"]
    assert resolved["troubles"][0]["hosts"] == [HOST]


def test_channels_that_fail_in_every_way_are_said_once_and_disturb_nothing(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    ca, told, port = PrivateCa(tmp_path / "mail"), tmp_path / "told", free_port()
    with (
        Pebble(tmp_path / "pebble", http_port=1) as pebble,
        smtp_server(tls=ca.server("127.0.0.1"), needs_login=True) as box,
        smtp_server() as refusing,
        receiver() as silent,
        socket.create_server(("127.0.0.1", 0)) as nobody,
    ):
        unreachable = f"http://127.0.0.1:{nobody.getsockname()[1]}/x"
        nobody.close()
        silent.hold.clear()
        refusing.refuse = "550 relaying denied"
        people = {"to": ["admin@example.com"], "from": "proxyd@example.com"}
        good = {"server": f"smtp://{USER}@127.0.0.1:{box.port}", "password": PASSWORD, "ca": str(ca.root), **people}
        alerts = [
            {"webhook": unreachable},
            {"webhook": silent.url},
            {"exec": ["/bin/sleep", "600"], "timeout": "1s"},
            {"exec": ["/bin/sh", "-c", f"cat > {told}"]},
            {"mail": {"server": f"smtp://127.0.0.1:{refusing.port}", **people}},
            {"mail": good},
            {"heartbeat": unreachable},
        ]
        daemon.configure({HOST: upstream.port}, pebble=pebble, alerts=alerts, admin={"listen": f"127.0.0.1:{port}"})
        daemon.start()
        eventually(lambda: box.mails and told.exists() and told.read_text().endswith("}\n"), what=daemon.log)
        (mail,) = box.mails
        assert HOST in mail["Subject"]
        assert json.loads(told.read_text())["kind"] == "renewal_failed"
        for reason in ("Connection refused", "sleep had not ended after 1 s", "550 relaying denied"):
            daemon.wait_for(reason)
        eventually(lambda: silent.received, what=daemon.log)
        counted = {key[1:]: value for key, value in scrape(port).items() if key[0] == "proxyd_alerts_total"}
        assert counted["mail", "delivered"] == counted["exec", "delivered"] == 1
        assert counted["webhook", "failed"] >= 1
        assert counted["heartbeat", "failed"] >= 1
        assert daemon.stop() == 0  # while one is silent and one tries again
        lines = [line for line in daemon.log().splitlines() if "an alert channel does not work" in line]
        assert len(lines) == len({line.partition("channel=")[2] for line in lines}) <= 4
        assert "no heartbeat can be sent" in daemon.log()


def test_a_reload_changes_the_channels_and_what_waits_goes_by_the_new_ones(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=1) as pebble, receiver() as server:
        broken = [{"webhook": "http://127.0.0.1:1/x"}]
        daemon.configure({HOST: upstream.port}, pebble=pebble, alerts=broken)
        daemon.start()
        daemon.wait_for("an alert channel does not work")
        daemon.configure({HOST: upstream.port}, pebble=pebble, alerts=[{"webhook": server.url}])
        daemon.reload()
        eventually(lambda: server.received, what=daemon.log)
        assert server.documents[0]["troubles"][0]["hosts"] == [HOST]


def test_check_sends_a_test_through_each_channel(tmp_path: Path, daemon: DaemonProcess) -> None:
    with receiver() as server, smtp_server() as box:
        good = [
            {"webhook": server.url},
            {"exec": ["/bin/true"]},
            {"heartbeat": server.url},
            {"mail": {"to": "a@example.com", "from": "b@example.com", "server": f"smtp://127.0.0.1:{box.port}"}},
        ]
        daemon.configure({"example.com": 8080}, alerts=good)
        done = command(daemon, "check", "--alerts")
        assert done.status == 0, done.out
        assert done.out.count("taken: look whether it arrived") == 4
        assert [one.method for one in server.received].count("POST") == 1
        assert next(one for one in server.received if one.body).json["event"] == "test"
        assert "Nothing is wrong" in box.mails[0].get_content()
        daemon.configure({"example.com": 8080}, alerts=[*good, {"exec": ["/bin/false"]}])
        failed = command(daemon, "check", "--alerts", "--json")
        assert failed.status == 1
        assert failed.json["ok"] is False
        assert [one["trouble"] for one in failed.json["alerts"]] == [None] * 4 + ["/bin/false ended with status 1"]
