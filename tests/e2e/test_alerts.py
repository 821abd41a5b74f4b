"""People are told of what is wrong with the machine, and no heartbeat says meanwhile that all is well."""

from datetime import timedelta

from tests.support.cached import NO_CA, keep_certificates
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.disk import ClosedDisk
from tests.support.receiver import receiver
from tests.support.smtp_server import smtp_server
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
