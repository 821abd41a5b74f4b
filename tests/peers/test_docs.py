"""Commands of the documents that need programs of the system."""

import sys
from pathlib import Path

import pytest
import yaml

from pebble.server import free_port
from tests.support.cached import start_cached
from tests.support.daemon import DaemonProcess, eventually
from tests.support.documents import Snippet, run, snippet
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers


def test_what_openssl_and_curl_tell(daemon: DaemonProcess, upstream: Upstream) -> None:
    port = free_port()
    start_cached(daemon, {"example.com": upstream.port}, admin={"listen": f"127.0.0.1:{port}"})
    assert "notAfter=" in run(snippet("backup.md", "openssl x509"), {"/var/lib/proxyd": daemon.cache})
    status = f"{sys.executable} -m proxyd status -c {daemon.file}"
    places = {"proxyd status": status, "127.0.0.1:9180": f"127.0.0.1:{port}"}
    assert run(snippet("monitoring.md", "curl --fail"), places) == "ready\n"


def test_certificates_of_clients_made_shown_and_taken_back(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    for part in ("openssl req", "touch index.txt"):
        run(snippet("mutual-tls.md", part), {}, cwd=tmp_path)
    lists = snippet("mutual-tls.md", "-gencrl")
    run(Snippet(lists.file, lists.line, lists.kind, lists.text.splitlines()[-1]), {}, cwd=tmp_path)
    written = snippet("mutual-tls.md", "client_crl:").text.replace("http://127.0.0.1:8080", str(upstream.port))
    (options,) = yaml.safe_load(written.replace("/etc/proxyd", str(tmp_path)))["hosts"].values()
    start_cached(daemon, {"admin.example.com": options})
    address = "https://admin.example.com/"
    here = f"--insecure --silent --show-error --connect-to ::127.0.0.1:{daemon.https_port} {address}"
    ask = snippet("mutual-tls.md", "curl --cert")
    assert "admin.example.com" in run(ask, {address: here}, cwd=tmp_path)
    for version, alert in (("", "certificate required"), ("--tls-max 1.2 ", "handshake failure")):
        with pytest.raises(AssertionError, match=f"(?i)alert {alert}"):
            run(ask, {"--cert alice.pem --key alice.key": version, address: here}, cwd=tmp_path)
    run(lists, {}, cwd=tmp_path)
    with pytest.raises(AssertionError, match=r"(?i)alert certificate revoked"):
        eventually(lambda: not run(ask, {address: here}, cwd=tmp_path))
