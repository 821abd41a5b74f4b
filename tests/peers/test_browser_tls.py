"""What a real browser makes of our TLS: certificates of its own, and hosts that it remembers as HTTPS only."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.cached import NO_CA
from tests.support.client_certificates import ClientCa
from tests.support.daemon import DaemonProcess
from tests.support.private_ca import PrivateCa
from tests.support.upstream import Upstream

pytestmark = pytest.mark.peers
OPEN, ASKED, STRICT = "open.example.test", "asked.example.test", "strict.example.test"
#: Without a window nobody could choose: the browser is told which certificate to show where.
_POLICIES = Path("/etc/chromium/policies/managed")


@pytest.fixture
def client_ca(tmp_path: Path) -> ClientCa:
    return ClientCa(tmp_path)


@pytest.fixture
def root(daemon: DaemonProcess, upstream: Upstream, tmp_path: Path, client_ca: ClientCa) -> Path:
    """Start the daemon; return the root of its certificates."""
    ca = PrivateCa(tmp_path / "servers")
    daemon.cache.mkdir(mode=0o700)
    for host in (OPEN, ASKED, STRICT):
        (daemon.cache / host).write_bytes(ca.make(host).read_bytes())
        (daemon.cache / host).chmod(0o600)
    hosts: dict[str, object] = {
        OPEN: upstream.port,
        ASKED: {"upstream": upstream.port, "tls": {"client_ca": str(client_ca.file)}},
        STRICT: {"upstream": upstream.port, "hsts": {"max_age": "365d"}},
    }
    daemon.configure(hosts, acme=NO_CA)
    daemon.start()
    return ca.root


@pytest.fixture
def browser(tmp_path: Path, root: Path) -> Browser:
    one = Browser(tmp_path / "browser", local=[OPEN, ASKED, STRICT])
    one.trust(root)
    return one


@pytest.fixture
def shows_certificates(daemon: DaemonProcess, root: Path) -> Iterator[None]:
    _POLICIES.mkdir(parents=True, exist_ok=True)
    file = _POLICIES / f"proxyd-test-{daemon.https_port}.json"
    rule = json.dumps({"pattern": f"https://{ASKED}:{daemon.https_port}", "filter": {}})
    file.write_text(json.dumps({"AutoSelectCertificateForUrls": [rule]}))
    try:
        yield
    finally:
        file.unlink()


def _address(daemon: DaemonProcess, host: str, scheme: str = "https") -> str:
    return f"{scheme}://{host}:{daemon.https_port}/"


def test_a_browser_with_a_certificate(
    daemon: DaemonProcess, browser: Browser, client_ca: ClientCa, tmp_path: Path, shows_certificates: None
) -> None:
    pair, packed = client_ca.client("alice"), tmp_path / "alice.p12"
    command = ["openssl", "pkcs12", "-export", "-in", str(pair), "-inkey", str(pair)]
    command += ["-out", str(packed), "-passout", "pass:"]
    subprocess.run([*command, "-name", "alice"], check=True, timeout=20)
    browser.import_pair(packed)
    with browser as one:
        one.open(_address(daemon, ASKED))
        assert '"target"' in one.value("document.body.innerText"), one.value("document.body.innerText")
        one.open(_address(daemon, OPEN))  # on a connection of its own
        assert '"target"' in one.value("document.body.innerText")


def test_a_browser_without_one(daemon: DaemonProcess, browser: Browser) -> None:
    with browser as one:
        one.open(_address(daemon, ASKED))
        assert "ERR_BAD_SSL_CLIENT_AUTH_CERT" in one.value("document.documentElement.innerText")


def test_what_it_remembers_as_https_only(daemon: DaemonProcess, browser: Browser) -> None:
    with browser as one:
        one.open(_address(daemon, OPEN))
        one.open(_address(daemon, OPEN, "http"))  # the port of TLS: nobody speaks HTTP there
        assert '"target"' not in one.value("document.documentElement.innerText")
        one.open(_address(daemon, STRICT))
        one.open(_address(daemon, STRICT, "http"))
        assert one.value("location.protocol") == "https:"
        assert '"target"' in one.value("document.body.innerText")
