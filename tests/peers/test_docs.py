"""Commands of the documents that need programs of the system."""

import sys

import pytest

from pebble.server import free_port
from tests.support.cached import start_cached
from tests.support.daemon import DaemonProcess
from tests.support.documents import run, snippet
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers


def test_what_openssl_and_curl_tell(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = free_port()
    start_cached(daemon, {"example.com": upstream.port}, admin={"listen": f"127.0.0.1:{port}"})
    assert "notAfter=" in run(snippet("backup.md", "openssl x509"), {"/var/lib/proxyd": daemon.cache})
    status = f"{sys.executable} -m proxyd status -c {daemon.file}"
    places = {"proxyd status": status, "127.0.0.1:9180": f"127.0.0.1:{port}"}
    assert run(snippet("monitoring.md", "curl --fail"), places) == "ready\n"
