"""What a person sees who got something wrong: exit status 2 and the next step."""

import ctypes
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pebble.server import Pebble, free_port
from tests.support.cached import NO_CA
from tests.support.command import command
from tests.support.command import proxyd as run
from tests.support.daemon import ROOT, DaemonProcess, HttpsClient, eventually
from tests.support.fake_ca import FakeCa
from tests.support.upstream import Upstream


def proxyd(*arguments: str | Path) -> tuple[int, str]:
    done = run(*map(str, arguments))
    return done.status, done.out + done.err


@pytest.mark.parametrize("command", ["run", "check"])
def test_no_file(tmp_path: Path, command: str) -> None:
    status, output = proxyd(command, "-c", tmp_path / "no.yaml")
    assert status == 2
    assert "no.yaml:1:1: there is no such file: make one" in output


def test_a_misspelt_command() -> None:
    status, output = proxyd("statsu")
    assert (status, "Did you mean status?" in output) == (2, True)
    assert "Did you mean" not in proxyd("frobnicate")[1]


def test_check(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("hosts:\n  example.com: 8080\n")
    assert proxyd("check", "-c", file) == (0, f"{file}: right; 1 host\n")
    file.write_text("hosts:\n  example.com: foo\n")
    status, output = proxyd("check", "-c", file)
    assert status == 2
    assert output.startswith(f"{file}:2:16: hosts.example.com: 'foo' has no scheme")


def test_a_warning_is_no_mistake(daemon: DaemonProcess, upstream: Upstream) -> None:
    acme = {"server": "https://127.0.0.1:1/dir", "challenges": ["http-01", "tls-alpn-01"]}
    listen = {"https": f"127.0.0.1:{daemon.https_port}", "http": []}
    daemon.configure({"one.example.test": upstream.port}, acme=acme, listen=listen)
    status, output = proxyd("check", "-c", daemon.file)
    assert status == 0
    assert "acme.challenges: warning: http-01 is not tried, because listen.http is []" in output
    daemon.start(wait=False)
    daemon.wait_for("http-01 is not tried")
    daemon.wait_for("the CA 127.0.0.1:1 cannot be reached")
    assert daemon.stop() == 0


def test_version_and_schema() -> None:
    status, output = proxyd("--version")
    assert status == 0
    assert all(part in output for part in ("proxyd 0.1.0", "Python 3.", "OpenSSL", "uvloop"))
    assert proxyd("config", "schema")[1].startswith("{")


def refused(daemon: DaemonProcess) -> str:
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(30) == 2, daemon.log()
    return daemon.log()


def test_port_taken(daemon: DaemonProcess) -> None:
    with socket.create_server(("127.0.0.1", daemon.https_port), reuse_port=True):
        daemon.configure({"example.com": 8080})
        log = refused(daemon)
    assert f"listen.https: cannot listen on 127.0.0.1:{daemon.https_port}: another program uses port" in log
    assert "ss -ltnp" in log


def _drop_net_bind() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(24, 10, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE; without effect where we are not root


def test_low_port_without_the_right(tmp_path: Path) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first == 0:
        pytest.skip("this machine lets everyone bind every port")
    file = tmp_path / "c.yaml"
    file.write_text(
        f"cache: {tmp_path}/cache\nlisten: {{https: '127.0.0.1:1', http: []}}\nhosts: {{example.com: 80}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "proxyd", "run", "-c", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        preexec_fn=_drop_net_bind,
    )
    assert done.returncode == 2
    assert "CAP_NET_BIND_SERVICE" in done.stderr


def test_cache_not_writable(daemon: DaemonProcess) -> None:
    daemon.configure({"example.com": 8080}, cache="/proc/proxyd")
    log = refused(daemon)
    assert "the cache /proc/proxyd is not writable" in log
    assert "set `cache` to another directory" in log


def _drop_file_rights() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for right in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER; without effect where we are not root
        libc.prctl(24, right, 0, 0, 0)


@pytest.mark.parametrize("shut", ["cache", "cache/+proxyd/tmp"])
def test_the_mode_of_our_own_cache_forbids_writing(daemon: DaemonProcess, shut: str) -> None:
    directory = daemon.directory / shut
    directory.mkdir(parents=True)
    directory.chmod(0o500)
    daemon.configure({"example.com": 8080})
    daemon.start(wait=False, prepare=_drop_file_rights)
    daemon.wait_for(f"its mode forbids it to its owner: chmod u+rwx {directory}")
    directory.chmod(0o700)


def test_ca_bundle_missing(daemon: DaemonProcess) -> None:
    daemon.configure({"example.com": 8080}, acme={"server": "https://127.0.0.1:1/dir", "ca_bundle": "/no.pem"})
    assert "acme.ca_bundle: /no.pem cannot be used (No such file or directory)" in refused(daemon)
    done = command(daemon, "check")
    assert done.status == 2
    assert f"{daemon.file}:" in done.err
    assert ": acme.ca_bundle: /no.pem cannot be used (No such file or directory)" in done.err


@pytest.mark.parametrize("broken", ["garbage", None])
def test_the_ca_bundle_of_one_host_concerns_nobody_else(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream, broken: str | None
) -> None:
    bundle, one, other = tmp_path / "bundle.pem", "one.example.test", "two.example.test"
    if broken is not None:
        bundle.write_text(broken)
    with FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca:
        its_own = {"upstream": upstream.port, "acme": {"server": ca.url, "ca_bundle": str(bundle)}}
        daemon.configure({one: upstream.port, other: its_own}, pebble=ca)
        assert command(daemon, "check").status == 2
        daemon.start()
        client = HttpsClient(daemon.https_port, ca.root())
        client.wait_for([one], daemon=daemon)
        assert "hosts.two.example.test.acme.ca_bundle" in daemon.log()
        why = f"acme.ca_bundle: {bundle} cannot be used"
        eventually(lambda: why in command(daemon, "explain", other).out)
        assert why in command(daemon, "status", "--json").json["hosts"][other]["last_error"]
        daemon.reload()
        daemon.wait_for("reloaded")
        bundle.write_bytes(ca.bundle.read_bytes())
        assert command(daemon, "renew", other).status == 0
        bundle.write_text("garbage")  # what was read before holds on
        daemon.forget_log()
        daemon.reload()
        daemon.wait_for("reloaded")
        assert command(daemon, "renew", other).status == 0
        client.wait_for([one, other], daemon=daemon)
        assert daemon.stop() == 0


def test_a_host_whose_ca_bundle_is_broken_has_its_fallback(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    bundle, one, other = tmp_path / "bundle.pem", "one.example.test", "two.example.test"
    with (
        FakeCa(tmp_path / "ca", http_port=daemon.http_port, tls_port=daemon.https_port) as ca,
        FakeCa(tmp_path / "next", http_port=daemon.http_port, tls_port=daemon.https_port) as following,
    ):
        fallback = [{"server": following.url, "ca_bundle": str(following.bundle)}]
        acme = {"server": ca.url, "ca_bundle": str(bundle), "fallback": fallback}
        daemon.configure({one: upstream.port, other: {"upstream": upstream.port, "acme": acme}}, pebble=ca)
        daemon.start()
        HttpsClient(daemon.https_port, ca.root()).wait_for([one], daemon=daemon)
        HttpsClient(daemon.https_port, following.root()).wait_for([other], daemon=daemon)
        assert daemon.stop() == 0


def test_ca_unreachable_is_said_while_the_daemon_serves(daemon: DaemonProcess) -> None:
    daemon.configure({"a.example.test": 8080}, acme={"server": f"https://127.0.0.1:{free_port()}/dir"})
    daemon.start()
    daemon.wait_for("cannot be reached (Connection refused): check network, DNS and acme.server")
    assert daemon.stop() == 0


def test_ca_not_trusted(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({"a.example.test": upstream.port}, acme={"server": pebble.url})
        daemon.start()
        daemon.wait_for("is not trusted")
        assert "set acme.ca_bundle to its root certificate" in daemon.log()
        assert daemon.stop() == 0


def test_a_bundle_that_is_mended_in_place_is_read_again(
    tmp_path: Path, daemon: DaemonProcess, upstream: Upstream
) -> None:
    bundle = tmp_path / "bundle.pem"
    with (
        Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble,
        Pebble(tmp_path / "other", http_port=1, tls_port=1) as other,
    ):
        bundle.write_bytes(other.bundle.read_bytes())
        daemon.configure({"a.example.test": upstream.port}, acme={"server": pebble.url, "ca_bundle": str(bundle)})
        daemon.start()
        daemon.wait_for("is not trusted")
        bundle.write_bytes(pebble.bundle.read_bytes())
        assert command(daemon, "renew", "a.example.test").status == 0
        bundle.write_bytes(other.bundle.read_bytes())
        daemon.reload()
        daemon.wait_for("reloaded")
        assert "is not trusted" in command(daemon, "account").out
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"url": "auth"}, "percent-encoded, like http://127.0.0.1:9091/api/authz/forward-auth"),
        ({"url": "http://a:b@c/"}, "must have no user and password in it"),
        ({"url": "http://c/#x"}, "must have no #"),
        ({"url": "ftp://c/"}, "must be a URL"),
        ({"url": "unix:auth.sock"}, "a unix socket is written unix:/run/auth.sock, or"),
        ({"url": "http://c/", "copy_headers": ["Host"]}, "Host cannot be changed here"),
        ({"url": "http://c/", "copy_headers": ["X-Forwarded-For"]}, "is for proxyd to say"),
        ({"url": "http://c/", "copy_headers": ["Content-Length"]}, "length of a message"),
        ({"copy_headers": []}, "forward_auth.url: is required"),
        ({"url": "https://one.example.test/auth"}, "would ask itself: write forward_auth: false"),
    ],
)
def test_a_server_of_forward_auth(daemon: DaemonProcess, written: dict[str, Any], said: str) -> None:
    daemon.configure({"one.example.test": {"upstream": 80, "forward_auth": written}}, acme=NO_CA)
    told = command(daemon, "check")
    assert told.status == 2
    assert said in told.err
