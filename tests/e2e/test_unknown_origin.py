"""A certificate of which nobody knows where it came from: the journal is lost, Go made it, a person put it there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.fake_ca import FakeCa
from tests.support.fake_ca_answer import Answer
from tests.support.upstream import Upstream

HOST = "one.example.test"


def test_its_revocation_by_the_ca_is_seen(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    now = datetime.now(UTC)
    at_once = {"start": (now - timedelta(hours=2)).isoformat(), "end": (now - timedelta(hours=1)).isoformat()}

    def as_usual(_: Answer) -> None:
        ca.window = None

    with (
        FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca,
        FakeCa(tmp_path / "other") as other,
    ):
        fallback = [{"server": ca.url, "ca_bundle": str(ca.bundle)}]
        daemon.configure({HOST: upstream.port}, pebble=ca)
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([HOST], daemon=daemon)
        daemon.wait_for("certificate issued")  # else its order is there still, and tells where it came from
        old = client.leaf(HOST)
        assert daemon.stop() == 0
        for part in (daemon.cache / "+proxyd").glob("journal*"):
            part.unlink()
        ca.window, ca.script["order"] = {"suggestedWindow": at_once}, as_usual
        acme = {"server": other.url, "ca_bundle": str(other.bundle), "fallback": fallback}
        daemon.configure({HOST: upstream.port}, acme=acme)  # which does not know the certificate
        other.instead["order"] = lambda: Answer(status=503)
        daemon.start()
        eventually(lambda: client.leaf(HOST) != old, what=daemon.log)
        assert other.asked["window"] == 1
        orders = [payload for path, payload in ca.payloads if path == "/new-order"]
        assert len(orders) == 2
        assert "replaces" not in orders[1]
        assert daemon.stop() == 0
