"""`proxyd cert show` of live servers: ours and others."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from pebble.server import free_port
from tests.support.cached import NO_CA
from tests.support.daemon import ROOT, DaemonProcess
from tests.support.own_files import TestCa, put
from tests.support.small_server import threaded_server
from tests.support.upstream import Upstream

HOST, OTHER = "one.example.test", "two.example.test"
CA = TestCa()


def show(*arguments: str, trusting: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin"} | ({"SSL_CERT_FILE": str(trusting)} if trusting else {})
    command = [sys.executable, "-m", "proxyd", "cert", "show", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)


@pytest.fixture
def place(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path) -> str:
    """A running daemon with a whole chain for one host, and a leaf for another."""
    hosts: dict[str, object] = {}
    for host in (HOST, OTHER):
        one, cert, key = CA.issue(host), tmp_path / f"{host}.crt", tmp_path / f"{host}.key"
        one.put(cert, key)
        if host == OTHER:
            put(cert, one.leaf)
        hosts[host] = {"upstream": upstream.port, "tls": {"cert": str(cert), "key": str(key)}}
    daemon.configure(hosts, acme=NO_CA, workers=1)
    daemon.start()
    daemon.wait_for("control socket")
    return f"127.0.0.1:{daemon.https_port}"


def test_a_running_server(place: str, tmp_path: Path, daemon: DaemonProcess) -> None:
    (root := tmp_path / "root.pem").write_bytes(CA.root)
    trusted = show(place, "--name", HOST, "--json", trusting=root)
    told = json.loads(trusted.stdout)
    assert trusted.returncode == 0
    assert (told["trusted"], told["asked"], told["wrong"], told["remarks"]) == (True, HOST, [], [])
    assert told["certificate"]["chain"] == [f"CN={HOST}", "CN=Test Intermediate"]
    private = show(place, "--name", HOST)
    assert private.returncode == 0, private.stdout
    assert "Look at: no CA that this machine trusts vouches for it: right for a private CA" in private.stdout
    assert "127.0.0.1, asked for one.example.test, TLSv1.3" in private.stdout
    incomplete = show(place, "--name", OTHER)
    assert incomplete.returncode == 1
    assert "Wrong: leaf only: Go clients will fail with unknown authority" in incomplete.stdout
    plain = show(f"127.0.0.1:{daemon.http_port}")
    assert (plain.returncode, "no TLS is spoken there" in plain.stderr) == (2, True)
    nameless = show(place)
    assert nameless.returncode == 2
    assert "without a certificate for who sends no name: ask for another one with --name" in nameless.stderr


def test_servers_that_show_none_and_a_wrong_one(tmp_path: Path) -> None:
    one = CA.issue("other.example.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(put(tmp_path / "one.pem", one.chain + one.key))
    with threaded_server("plain") as plain, threaded_server("tls", tls=context) as server:
        refused = show(f"127.0.0.1:{plain.port}")
        assert refused.returncode == 2
        assert "no answer within 5 s: it takes connections, and begins no TLS" in refused.stderr
        wrong = show(f"localhost:{server.port}")
        assert wrong.returncode == 1
        assert "Wrong: it is not for localhost" in wrong.stdout
    port = free_port()
    assert f"[::1]:{port}: nobody answers there" in show(f"[::1]:{port}").stderr
    nobody = show(f"127.0.0.1:{port}")
    assert nobody.returncode == 2
    assert "nobody answers there (Connection refused): does it listen, and speak TLS?" in nobody.stderr
