"""Hosts of several CAs: the trouble of one is not that of the others."""

import socket
from pathlib import Path

from pebble.server import Pebble
from tests.support.daemon import DaemonProcess, HttpsClient
from tests.support.upstream import Upstream

HANGING = [f"a{number}.example.test" for number in range(6)]
HOST = "z.example.test"


def test_a_ca_that_accepts_and_says_nothing_holds_up_its_own_hosts_only(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as hangs,
        Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble,
    ):
        acme = {"server": f"https://127.0.0.1:{hangs.getsockname()[1]}/dir", "ca_bundle": str(pebble.bundle)}
        hosts: dict[str, object] = {host: {"upstream": upstream.port, "acme": acme} for host in HANGING}
        daemon.configure({**hosts, HOST: upstream.port}, pebble=pebble)
        daemon.start()
        HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)
        assert "no certificate" not in daemon.log()
        assert daemon.stop() == 0
