"""The root of the internal CA in the trust stores of others: the system's, and Chromium's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.command import command
from tests.support.daemon import ROOT, DaemonProcess, HttpsClient
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
LIMITED, ANY = "localhost", "www.example.com"


@pytest.fixture
def roots(daemon: DaemonProcess, upstream: Upstream) -> dict[str, str]:
    """The roots of a daemon that serves a local name and another one, by the name that each is for."""
    hosts = {LIMITED: upstream.port, ANY: {"upstream": upstream.port, "tls": {"issuer": "internal"}}}
    daemon.configure({**hosts}, resolvers=["127.0.0.1:9"])
    daemon.start()
    anybody = HttpsClient(daemon.https_port, b"")
    anybody._context.check_hostname = False
    anybody._context.verify_mode = False  # type: ignore[assignment]
    anybody.wait_for([LIMITED, ANY], daemon=daemon)
    limited, other = command(daemon, "trust", "--json").json["roots"]
    return {LIMITED: limited["pem"], ANY: other["pem"]}


@pytest.mark.usefixtures("roots")
def test_the_system_takes_it_and_gives_it_back(daemon: DaemonProcess, tmp_path: Path) -> None:
    """In a mount namespace: the machine's own store stays as it is."""
    places = {"local": "/usr/local/share/ca-certificates", "etc": "/etc/ssl/certs"}
    for ours in places:
        (tmp_path / ours).mkdir()
    mounts = " && ".join(f"mount --bind {tmp_path / ours} {theirs}" for ours, theirs in places.items())
    trust = f"{sys.executable} -m proxyd trust -c {daemon.file}"
    curl = "curl --silent --fail --output /dev/null"
    look = f"{curl} https://{LIMITED}:{daemon.https_port}/"
    other = f"{curl} --resolve {ANY}:{daemon.https_port}:127.0.0.1 https://{ANY}:{daemon.https_port}/"
    steps = [mounts, f"{trust} --install", look, other, f"{trust} --install", f"{trust} --uninstall", f"! {look}"]
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", "--mount", *user, "sh", "-c", f"set -e; {'; '.join(steps)}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *installed, hint, again, gone, gone_too, _ = done.stdout.splitlines()
    assert len(installed) == 2
    assert installed[0].startswith("installed: /usr/local/share/ca-certificates/proxyd-internal-ca-")
    assert "Firefox" in hint
    assert again == "nothing to do: it is installed"
    assert {gone, gone_too} == {one.replace("installed", "uninstalled") for one in installed}


@pytest.mark.parametrize("trusted", [LIMITED, ANY])
def test_chromium_believes_each_root_what_it_may_say(
    daemon: DaemonProcess, roots: dict[str, str], trusted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store, file = tmp_path / ".pki" / "nssdb", tmp_path / "root.crt"
    store.mkdir(parents=True)
    file.write_text(roots[trusted])
    for words in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "proxyd", "-i", str(file)]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *words], check=True, timeout=30)
    with Browser(tmp_path, "--host-resolver-rules=MAP * 127.0.0.1") as browser:
        seen = {name: browser.opens(f"https://{name}:{daemon.https_port}/") for name in (LIMITED, ANY)}
    assert (seen[trusted], seen[ANY if trusted == LIMITED else LIMITED]) == (None, "net::ERR_CERT_AUTHORITY_INVALID")
