"""Other people's clients against the daemon, other people's servers behind it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pebble.server import Pebble, free_port
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
HOST = "peer.example.test"
NGINX = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1; user root;
events {{}}
http {{ access_log off; client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "nginx saw $host $http_x_forwarded_for\\n"; }} }} }}
"""


@pytest.fixture
def pebble(tmp_path: Path, daemon: DaemonProcess) -> Iterator[Pebble]:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as one:
        (tmp_path / "root.pem").write_bytes(one.root())
        yield one


def serve(daemon: DaemonProcess, pebble: Pebble, port: int) -> None:
    daemon.configure({HOST: port}, pebble=pebble)
    daemon.start()
    HttpsClient(daemon.https_port, pebble.root()).wait_for([HOST], daemon=daemon)


def test_curl_and_openssl(tmp_path: Path, daemon: DaemonProcess, pebble: Pebble, upstream: Upstream) -> None:
    serve(daemon, pebble, upstream.port)
    where = f"{HOST}:{daemon.https_port}"
    curl = [
        "curl",
        "-sS",
        "--cacert",
        str(tmp_path / "root.pem"),
        "--resolve",
        f"{where}:127.0.0.1",
        f"https://{where}/x",
    ]
    done = subprocess.run(
        [*curl, "-w", "%{http_code} %{ssl_verify_result}"], capture_output=True, text=True, timeout=20
    )
    assert done.stdout.endswith("200 0"), done
    wrong = subprocess.run(
        ["curl", "-sS", "-k", f"https://127.0.0.1:{daemon.https_port}/"], capture_output=True, text=True, timeout=20
    )
    assert wrong.returncode == 35
    assert "unrecognized name" in wrong.stderr
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.https_port}", "-servername", HOST]
    command += ["-verify_return_error", "-verify_hostname", HOST, "-CAfile", str(tmp_path / "root.pem")]
    shown = subprocess.run(command, input="", capture_output=True, text=True, timeout=20)
    assert "Verify return code: 0 (ok)" in shown.stdout


def test_nginx_as_upstream(tmp_path: Path, daemon: DaemonProcess, pebble: Pebble) -> None:
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(directory=tmp_path, port=port))
    nginx = subprocess.Popen(["nginx", "-c", config, "-e", tmp_path / "start.log"])
    try:
        serve(daemon, pebble, port)
        client = HttpsClient(daemon.https_port, pebble.root())
        eventually(lambda: b"nginx saw " + HOST.encode() + b" 127.0.0.1" in client.get(HOST), what=daemon.log)
    finally:
        nginx.terminate()
        nginx.wait(10)


def test_chromium(tmp_path: Path, daemon: DaemonProcess, pebble: Pebble, upstream: Upstream) -> None:
    serve(daemon, pebble, upstream.port)
    nss = tmp_path / "home" / ".pki" / "nssdb"
    nss.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{nss}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True, timeout=20)
    root = str(tmp_path / "root.pem")
    subprocess.run([*certutil, "-A", "-t", "C,,", "-n", "pebble", "-i", root], check=True, timeout=20)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path}/profile", f"--host-resolver-rules=MAP {HOST} 127.0.0.1", "--dump-dom"]
    shown = subprocess.run(
        [*command, f"https://{HOST}:{daemon.https_port}/from-a-browser"],
        env={**os.environ, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "/from-a-browser" in shown.stdout, shown.stderr[-2000:]
    assert "sec-ch-ua" in shown.stdout
