"""Other people's HTTP/2 clients: curl, nghttp, h2load, Chromium."""

import base64
import hashlib
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.cached import reload, start_cached
from tests.support.daemon import DaemonProcess, eventually
from tests.support.raw_upstream import Ended, Peer, RawUpstream

pytestmark = pytest.mark.peers
HOST = "localhost"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _page(peer: Peer) -> None:
    one = peer.request()
    if one.target == b"/ws":
        digest = base64.b64encode(hashlib.sha1(one.value(b"Sec-WebSocket-Key") + _GUID).digest())
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
        peer.send(b"Sec-WebSocket-Accept: %b\r\n\r\n\x81\x05hello" % digest)
        peer.has_ended(30.0)
        return
    if one.target == b"/endless":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            peer.send(bytes(65_536))
    body = b"<!doctype html><title>page</title>" if one.target == b"/" else b"%d" % len(one.body)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture
def served(daemon: DaemonProcess) -> Iterator[DaemonProcess]:
    with RawUpstream() as upstream:
        upstream.script = _page
        log = {"access": {"file": str(daemon.directory / "access.log"), "format": "combined"}}
        start_cached(daemon, {HOST: {"upstream": upstream.port, "max_body": "6MB"}}, workers=1, log=log)
        yield daemon
        assert [one for one in upstream.failures if not isinstance(one, Ended)] == []
    assert "Traceback" not in daemon.log()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_curl(served: DaemonProcess, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(5_000_000))
    base = f"https://{HOST}:{served.https_port}"
    many = [f"{base}/{number}" for number in range(100)]
    done = _run("curl", "-sSk", "--http2", "--parallel", "-w", "%{http_version} %{http_code}\n", *many)
    assert re.findall(r"(?m)2 200$", done.stdout) == ["2 200"] * 100, done
    assert _run("curl", "-sSk", "--http2", "-T", str(upload), f"{base}/upload").stdout == "5000000"
    assert _run("curl", "-sSk", "--http2", "-d", "x", f"{base}/form").stdout == "1"
    upload.write_bytes(bytes(20_000_000))
    for how in (["-T", str(upload)], ["--data-binary", f"@{upload}"], ["-F", f"a=@{upload}"]):
        for _ in range(5):  # its answer comes long before it has sent all
            done = _run("curl", "-sSk", "--http2", "-o", "/dev/null", "-w", "%{http_code}", *how, f"{base}/large")
            assert (done.stdout, done.stderr, done.returncode) == ("413", "", 0)


def test_nghttp(served: DaemonProcess) -> None:
    done = _run("nghttp", "-nv", "-m", "20", f"https://{HOST}:{served.https_port}/a")
    assert done.returncode == 0, done
    assert done.stdout.count(":status: 200") == 20
    assert "[ERROR]" not in done.stdout
    codes = re.findall(r"GOAWAY.*\n.*error_code=(\w+)", done.stdout)
    assert set(codes) <= {"NO_ERROR"}


def test_h2load(served: DaemonProcess) -> None:
    done = _run("h2load", "-n", "5000", "-c", "10", "-m", "20", f"https://{HOST}:{served.https_port}/load")
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done


def _reload_often(daemon: DaemonProcess) -> None:
    for _ in range(3):
        reload(daemon)


def test_chromium(served: DaemonProcess, tmp_path: Path) -> None:
    base = f"https://{HOST}:{served.https_port}"
    with Browser(tmp_path, "--ignore-certificate-errors") as browser:
        browser.open(f"{base}/")
        everything = "Promise.all([...Array(100).keys()].map(n => fetch('/r/' + n).then(r => r.text())))"
        assert browser.value(f"{everything}.then(all => all.length)") == 100
        spoken = "[...new Set(performance.getEntriesByType('resource').map(one => one.nextHopProtocol))].join()"
        assert browser.value(spoken) == "h2"
        upload = "fetch('/up', {method: 'POST', body: new Uint8Array(5000000)}).then(r => r.text())"
        assert browser.value(upload) == "5000000"
        refused = "fetch('/up', {method: 'POST', body: new Uint8Array(20000000)}).then(r => r.status)"
        assert [browser.value(refused) for _ in range(5)] == [413] * 5
        hello = f"new Promise(f => new WebSocket('wss://{HOST}:{served.https_port}/ws').onmessage = m => f(m.data))"
        assert browser.value(hello) == "hello"
        cancelled = (
            "(async () => { const stop = new AbortController();"
            "const r = await fetch('/endless', {signal: stop.signal}); const reader = r.body.getReader();"
            "await reader.read(); stop.abort();"
            "try { while (!(await reader.read()).done); return 'whole' } catch (e) { return e.name } })()"
        )
        assert browser.value(cancelled) == "AbortError"
        asking = threading.Thread(target=_reload_often, args=[served])
        asking.start()
        while asking.is_alive():
            assert browser.value(f"{everything}.then(all => all.length)") == 100
        asking.join()
        assert [one for one in browser.complaints if "favicon" not in one and "413" not in one] == []
    log = served.directory / "access.log"
    eventually(lambda: '"GET /ws HTTP/2.0" 101' in log.read_text(), what=log.read_text)
