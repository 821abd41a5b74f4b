"""Prometheus' own tool reads the metrics, and the alerts that are made of them, and finds nothing to complain about."""

import re
import subprocess
from pathlib import Path

import pytest

from pebble.server import free_port
from tests.support.cached import get, start_cached, status, tls
from tests.support.daemon import DaemonProcess
from tests.support.scrape import fetch
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
ALERTS = Path(__file__).parents[2] / "docs" / "prometheus-alerts.yaml"
HOST, DEAD = "one.example.test", "dead.example.test"


def test_promtool(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = free_port()
    start_cached(daemon, {HOST: upstream.port, DEAD: 1}, admin={"listen": f"127.0.0.1:{port}"})
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert status(tls(daemon.https_port, DEAD, get(DEAD))) == 502
    text = fetch(port, "/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shown = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    asked = {re.sub("_(sum|count)$", "", one) for one in re.findall(r"\bproxyd_\w+", ALERTS.read_text())}
    assert asked <= shown, "an alert about what nobody tells never fires"


def test_the_alerts() -> None:
    for command in (
        ["check", "rules", str(ALERTS)],
        ["test", "rules", str(Path(__file__).with_name("alerts_test.yaml"))],
    ):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
