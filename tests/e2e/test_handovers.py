"""What other programs did not take is told once, and done when they can, whatever restarts and reloads come between."""

from pathlib import Path

from tests.e2e.test_alerts import kinds
from tests.support.cached import NO_CA, keep_certificates
from tests.support.daemon import DaemonProcess, eventually
from tests.support.receiver import receiver

HOST = "one.example.test"
FAILED = "the new certificate was not handed over"


def script(directory: Path, text: str) -> list[str]:
    file = directory / "renewed"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return [str(file)]


def test_a_restart_or_reload_ends_no_trouble_and_tells_none_again(tmp_path: Path, daemon: DaemonProcess) -> None:
    keep_certificates(daemon, HOST)
    run = script(tmp_path, "sleep 2; exit 3")  # longer than the first look takes
    with receiver() as people:
        host = {"upstream": 8080, "on_renew": run}
        daemon.configure({HOST: host}, acme=NO_CA, alerts=[{"webhook": people.url}], workers=1)
        daemon.start()
        eventually(lambda: kinds(people.documents, "problem") == {"hook_failed"}, what=daemon.log)
        daemon.forget_log()
        daemon.reload()
        daemon.wait_for(FAILED)
        daemon.stop()
        daemon.forget_log()
        daemon.start()
        daemon.wait_for(FAILED)
        daemon.stop()
        assert [one["event"] for one in people.documents] == ["problem"]
        assert f"{HOST}: on_renew or export failed" not in daemon.log()


def test_a_program_that_failed_over_new_copies_is_run_after_a_restart(tmp_path: Path, daemon: DaemonProcess) -> None:
    keep_certificates(daemon, HOST)
    place, broken = tmp_path / "tls", tmp_path / "broken"
    hooks = {"on_renew": script(tmp_path, f"test ! -e {broken}"), "export": {"dir": str(place)}}
    daemon.configure({HOST: {"upstream": 8080, **hooks}}, acme=NO_CA, workers=1)
    daemon.start()
    daemon.wait_for("on_renew ended well")
    daemon.stop()
    (place / f"{HOST}.fullchain.pem").unlink()
    broken.touch()
    daemon.start()
    daemon.wait_for(FAILED)
    daemon.stop()
    broken.unlink()
    daemon.forget_log()
    daemon.start()
    daemon.wait_for("on_renew ended well")
