"""A CA of one's own, a backup and a restore, as the documents tell them: with a real CA, which counts orders."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.documents import run, snippet
from tests.support.upstream import Upstream

HOST = "wiki.internal"


@pytest.fixture
def restored(make_daemon: Callable[[], DaemonProcess]) -> DaemonProcess:
    return make_daemon()


def test_a_private_ca_and_a_restored_cache_that_orders_nothing(
    tmp_path: Path, daemon: DaemonProcess, restored: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        written = snippet("private-ca.md", "wiki.internal: http").text
        written = written.replace("https://ca.internal:9000/acme/acme/directory", pebble.url)
        told = yaml.safe_load(written.replace("/etc/proxyd/ca-root.pem", str(pebble.bundle)))
        assert told["acme"] == {"server": pebble.url, "ca_bundle": str(pebble.bundle)}
        daemon.configure({HOST: upstream.port}, acme=told["acme"])
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        leaf, orders = client.leaf(HOST), pebble.orders()
        eventually(lambda: daemon.journal("SELECT 1 FROM event WHERE kind = 'certificate issued'"), what=daemon.log)
        archive = {"/var/backups": tmp_path, "/var/lib/proxyd": daemon.cache}
        run(snippet("backup.md", "tar --create"), archive)
        assert (tmp_path / "proxyd.tar.gz").stat().st_mode & 0o077 == 0
        daemon.stop()

        run(snippet("backup.md", "tar --extract"), {**archive, "/var/lib/proxyd": restored.cache})
        restored.configure({HOST: upstream.port}, acme=told["acme"])
        before = command(restored, "status")
        assert (before.status, "ready" in before.out) == (0, True), before.out + before.err
        restored.start()
        assert HttpsClient(restored.https_port, pebble.root()).leaf(HOST) == leaf
        assert "gave certificate" in command(restored, "explain", HOST).out  # its history came along
        assert pebble.orders() == orders
        row = command(restored, "status", "--json").json["hosts"][HOST]
        assert (row["state"], row["failures"]) == ("ready", 0)
