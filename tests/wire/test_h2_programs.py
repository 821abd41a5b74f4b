"""HTTP/2 as others see it: the conformance tests of h2spec, the clients of Go's net/http and of Python's httpx."""

import asyncio
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.certs import make_pem
from tests.support.daemon import DaemonProcess
from tests.support.raw_upstream import RawUpstream
from tests.support.wire import Wire

BIN = Path(__file__).resolve().parents[2] / "pebble" / "bin"
#: Of h2spec v2.2.1, with --strict; another count means another h2spec.
_CASES = 146


@pytest.fixture
def local(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that serves `localhost`."""
    daemon = DaemonProcess(tmp_path)
    daemon.cache.mkdir(mode=0o700)
    pem = make_pem("localhost")
    (daemon.cache / "localhost").write_bytes(pem)
    (daemon.cache / "localhost").chmod(0o600)
    (tmp_path / "root.pem").write_bytes(pem[pem.index(b"-----BEGIN CERT") :])
    with RawUpstream() as upstream:
        hosts: dict[str, object] = {"localhost": {"upstream": upstream.port, "max_body": "2MiB"}}
        daemon.configure(hosts, acme={"server": "https://127.0.0.1:9/directory"}, workers=1)
        daemon.start()
        yield daemon
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_h2spec_finds_nothing(local: DaemonProcess) -> None:
    command = [str(BIN / "h2spec"), "--strict", "--tls", "--insecure", "--host", "localhost", "--timeout", "5"]
    done = subprocess.run([*command, "--port", str(local.https_port)], capture_output=True, text=True, timeout=100)
    found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert found is not None, done
    failed = done.stdout.partition("Failures:")[2]
    assert [int(one) for one in found.groups()] == [_CASES, _CASES, 0, 0], failed


def test_go(local: DaemonProcess, tmp_path: Path) -> None:
    command = [str(BIN / "h2-peer"), "-address", f"127.0.0.1:{local.https_port}", "-host", "localhost"]
    done = subprocess.run(
        [*command, "-bundle", str(tmp_path / "root.pem")], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done


def _pieces() -> Iterator[bytes]:
    """Half more than is taken: a client that reads no answer before has a second for the rest."""
    for _ in range(48):
        yield bytes(65_536)


async def test_httpx_asks_for_much_at_once(local: DaemonProcess, tmp_path: Path) -> None:
    """With threads it would now and then send the frames of two requests in the wrong order."""
    context = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
    async with httpx.AsyncClient(
        http2=True, verify=context, base_url=f"https://localhost:{local.https_port}"
    ) as client:
        for first in range(0, 200, 20):
            answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(first, first + 20)))
            assert {one.http_version for one in answers} == {"HTTP/2"}
            assert [one.text for one in answers] == [f"GET /{number} " for number in range(first, first + 20)]


def test_httpx(local: DaemonProcess, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
    with httpx.Client(http2=True, verify=context, base_url=f"https://localhost:{local.https_port}") as client:
        # It reads no answer before it has sent all, or has no window for it.
        assert client.post("/refused", content=_pieces()).status_code == 413
        assert client.post("/", content=b"a" * (1 << 20)).content == b"POST / " + b"a" * (1 << 20)
        assert client.head("/").headers["content-length"] == "7"


def test_both_versions_on_one_listener(wire: Wire) -> None:
    with wire.client() as old, wire.h2_client() as new:
        assert old.socket.selected_alpn_protocol() is None
        assert new.asks("/new").status == 200
    assert wire.get(b"/old").status == 200
