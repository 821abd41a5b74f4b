"""`hsts: ramp`: a renewal is what makes browsers remember, in all processes at once and after a restart."""

from pathlib import Path

import pytest

from pebble.server import Pebble
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

HOST, ALIAS = "one.example.test", "www.one.example.test"


@pytest.mark.parametrize("workers", [1, 2])
def test_it_begins_with_the_first_renewal(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, workers: int
) -> None:
    options = {"upstream": upstream.port, "hsts": "ramp", "aliases": [ALIAS], "certificate": "shared"}
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({HOST: options}, pebble=pebble, workers=workers)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST, ALIAS], daemon=daemon)
        eventually(lambda: command(daemon, "status").status == 0)

        def told() -> set[bytes]:
            answers = [client.get(host) for host in (HOST, ALIAS) * 5]
            return {line for one in answers for line in one.split(b"\r\n") if line.startswith(b"Strict")}

        assert told() == set()
        assert command(daemon, "renew", HOST).status == 0
        expected = {b"Strict-Transport-Security: max-age=86400"}
        eventually(lambda: told() == expected, what=daemon.log)
        assert command(daemon, "renew", HOST).status == 0  # on the same day: it proves nothing new
        assert told() == expected
        daemon.stop()
        daemon.start()
        eventually(lambda: told() == expected, what=daemon.log)
