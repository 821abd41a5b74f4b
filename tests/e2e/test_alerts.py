"""People are told of what is wrong with the machine, and no heartbeat says meanwhile that all is well."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.cached import NO_CA, keep_certificates
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.disk import ClosedDisk
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import problem
from tests.support.receiver import receiver
from tests.support.smtp_server import smtp_server
from tests.support.upstream import Upstream
from tests.support.wrong_clock import put_on_wrong_machine, set_clock

HOST = "one.example.test"


def test_a_wrong_clock_is_told_and_its_end(daemon: DaemonProcess) -> None:
    keep_certificates(daemon, HOST)
    put_on_wrong_machine(daemon, timedelta(days=-3650))
    with receiver() as people, receiver() as watch:
        alerts = [{"webhook": people.url}, {"heartbeat": watch.url, "interval": "1s"}]
        daemon.configure({HOST: 8080}, acme=NO_CA, alerts=alerts, workers=1)
        daemon.start()
        eventually(lambda: kinds(people.documents, "problem") >= {"clock_wrong"}, what=daemon.log)
        clock = next(one for one in people.documents if one["kind"] == "clock_wrong")
        assert "timedatectl" in clock["troubles"][0]["to_do"]
        assert not watch.received
        assert "no heartbeat is sent: the daemon ails" in daemon.log()
        set_clock(daemon, timedelta(0))
        eventually(lambda: "clock_wrong" in kinds(people.documents, "resolved"), what=daemon.log)
        eventually(lambda: watch.received, what=daemon.log, seconds=90)


def test_a_cache_that_keeps_nothing_is_told(daemon: DaemonProcess) -> None:
    disk = ClosedDisk(daemon.cache)
    keep_certificates(daemon, HOST)
    with receiver() as people, receiver() as watch:
        alerts = [{"webhook": people.url}, {"heartbeat": watch.url, "interval": "1s"}]
        admin = {"socket": str(daemon.directory / "control.sock")}
        daemon.configure({HOST: 8080}, acme=NO_CA, alerts=alerts, admin=admin)
        disk.fill()
        try:
            daemon.start(prepare=disk.prepare)
            eventually(lambda: "cache_not_durable" in kinds(people.documents, "problem"), what=daemon.log)
            assert not watch.received
            assert daemon.stop() == 0
        finally:
            disk.free()


def test_a_refused_reload_is_told_and_its_end(daemon: DaemonProcess) -> None:
    keep_certificates(daemon, HOST)
    with receiver() as people:
        daemon.configure({HOST: 8080}, acme=NO_CA, alerts=[{"webhook": people.url}], watch=True)
        daemon.start()
        daemon.wait_for("control socket")
        good = daemon.file.read_text()
        daemon.file.write_text(f"{good}lisen: 1\n")  # nobody is at a terminal
        eventually(lambda: "reload_refused" in kinds(people.documents, "problem"), what=daemon.log)
        told = next(one for one in people.documents if one["kind"] == "reload_refused")["troubles"][0]
        assert "lisen: unknown key: did you mean listen?" in told["reason"]
        assert "proxyd check" in told["to_do"]
        daemon.file.write_text(good)
        eventually(lambda: "reload_refused" in kinds(people.documents, "resolved"), what=daemon.log)


def test_blocked_changed_terms_and_the_ceiling_are_told_and_their_end(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    hosts = BLOCKED, TERMS, BREAKER = "blocked.example.test", "terms.example.test", "often.example.test"
    agree = "https://ca.example/agree?id=7"
    with contextlib.ExitStack() as stack:
        people = stack.enter_context(receiver())
        ports = {"http_port": daemon.http_port, "tls_port": daemon.https_port}
        cas = {host: stack.enter_context(FakeCa(tmp_path / host, **ports)) for host in hosts}
        cas[BLOCKED].script["order"] = lambda _: problem("rejectedIdentifier", 400, "policy forbids that name")
        cas[TERMS].script["order"] = lambda _: problem("userActionRequired", 403, "new terms", instance=agree)
        past = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
        cas[BREAKER].window = {"suggestedWindow": past}  # whatever it gives is to be renewed at once

        def of(host: str) -> dict[str, object]:
            return {"server": cas[host].url, "ca_bundle": str(cas[host].bundle)}

        options: dict[str, object] = {host: {"upstream": upstream.port, "acme": of(host)} for host in hosts}
        daemon.configure(options, acme=of(BREAKER), alerts=[{"webhook": people.url}])
        keep_certificates(daemon, TERMS, begin=datetime.now(UTC) - timedelta(days=65))  # due, and not urgent
        daemon.start()
        expected = {"blocked": BLOCKED, "terms_changed": TERMS, "breaker_tripped": BREAKER}
        eventually(lambda: kinds(people.documents, "problem") >= expected.keys(), what=daemon.log)
        told = {str(one["kind"]): one for one in people.documents if one["kind"] in expected}
        assert {kind: one["troubles"][0]["hosts"] for kind, one in told.items()} == {
            kind: [host] for kind, host in expected.items()
        }
        reasons = {kind: f"{one['troubles'][0]['reason']} {one['troubles'][0]['to_do']}" for kind, one in told.items()}
        assert "policy forbids that name" in reasons["blocked"]
        assert agree in reasons["terms_changed"]
        assert f"proxyd renew --force {BREAKER}" in reasons["breaker_tripped"]
        for ca in cas.values():
            ca.script.clear()
            ca.window = None
        for host in (BLOCKED, TERMS):
            assert command(daemon, "renew", host).status == 0
        assert command(daemon, "renew", "--force", BREAKER).status == 0
        eventually(lambda: kinds(people.documents, "resolved") >= expected.keys(), what=daemon.log)
        assert daemon.stop() == 0
        for event in ("problem", "resolved"):  # each once
            assert sorted(str(one["kind"]) for one in people.documents if one["event"] == event) == sorted(expected)


def test_what_one_of_two_channels_did_not_take_is_told_after_a_restart(daemon: DaemonProcess) -> None:
    keep_certificates(daemon, HOST)
    with receiver() as well, receiver() as ill:
        ill.statuses += [500] * 100
        alerts = [{"webhook": well.url}, {"webhook": ill.url}]
        hooked = {"upstream": 8080, "on_renew": ["/bin/false"]}
        daemon.configure({HOST: hooked}, acme=NO_CA, alerts=alerts, workers=1)
        daemon.start()
        eventually(lambda: well.received and ill.received, what=daemon.log)
        daemon.stop()
        ill.statuses.clear()
        ill.received.clear()
        daemon.start()
        eventually(lambda: kinds(ill.documents, "problem") == {"hook_failed"}, what=daemon.log)
        daemon.stop()
        ill.received.clear()
        daemon.start()
        daemon.stop()
        assert len(well.received) == 1
        assert not ill.received


def test_a_check_of_alerts_sends_nothing_in_place_of_a_secret_of_the_service(daemon: DaemonProcess) -> None:
    with receiver() as server, smtp_server() as box:
        mail = {"to": "a@example.com", "from": "b@example.com", "server": f"smtp://u@127.0.0.1:{box.port}"}
        alerts = [
            {"webhook": server.url, "secret": "credential:key"},
            {"webhook": "credential:hook"},
            {"mail": {**mail, "password": "credential:password"}},
        ]
        daemon.configure({"example.com": 8080}, alerts=alerts)
        done = command(daemon, "check", "--alerts")
        assert done.status == 1
        for name in ("key", "hook", "password"):
            assert f"only the service can read it: credential:{name};" in done.out
        assert not server.received
        assert not box.mails


def kinds(documents: list[dict[str, object]], event: str) -> set[object]:
    return {one["kind"] for one in documents if one["event"] == event}
