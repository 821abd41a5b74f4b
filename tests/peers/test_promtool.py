"""Prometheus' own tool reads the metrics and finds nothing to complain about."""

import subprocess

import pytest

from pebble.server import free_port
from tests.support.cached import get, start_cached, status, tls
from tests.support.daemon import DaemonProcess
from tests.support.scrape import fetch
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
HOST, DEAD = "one.example.test", "dead.example.test"


def test_promtool(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = free_port()
    start_cached(daemon, {HOST: upstream.port, DEAD: 1}, admin={"listen": f"127.0.0.1:{port}"})
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert status(tls(daemon.https_port, DEAD, get(DEAD))) == 502
    text = fetch(port, "/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
