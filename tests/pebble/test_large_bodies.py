"""200 MiB both ways, intact, in bounded memory."""

import hashlib
import json
from pathlib import Path

from pebble.server import Pebble
from tests.support.daemon import DaemonProcess, HttpsClient
from tests.support.upstream import BLOCK, Upstream

SIZE = 200 << 20
GROWTH_KIB = 60 << 10


def test_download_and_upload(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    host = "large.example.test"
    want = hashlib.sha256(BLOCK * (SIZE // len(BLOCK))).hexdigest()
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        daemon.configure({host: upstream.port}, pebble=pebble)
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([host], daemon=daemon)
        before = daemon.rss_kib()
        with client.connect(host) as tls:
            tls.sendall(f"GET /large/{SIZE} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head, digest, size = b"", hashlib.sha256(), 0
            while b"\r\n\r\n" not in head:
                head += tls.recv(65536)
            data = head.partition(b"\r\n\r\n")[2] or tls.recv(1 << 18)
            while data:
                digest.update(data)
                size += len(data)
                data = tls.recv(1 << 18)
        assert (size, digest.hexdigest()) == (SIZE, want)
        assert daemon.rss_kib() - before < GROWTH_KIB
        for framing in (f"Content-Length: {SIZE}", "Transfer-Encoding: chunked"):
            assert upload(client, host, framing) == (SIZE, want)
            assert daemon.rss_kib() - before < GROWTH_KIB


def upload(client: HttpsClient, host: str, framing: str) -> tuple[int, str]:
    with client.connect(host) as tls:
        tls.settimeout(60)
        tls.sendall(f"POST / HTTP/1.1\r\nHost: {host}\r\n{framing}\r\nConnection: close\r\n\r\n".encode())
        chunked = "chunked" in framing
        for _ in range(SIZE // len(BLOCK)):
            tls.sendall(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
        if chunked:
            tls.sendall(b"0\r\n\r\n")
        answer = b""
        while data := tls.recv(65536):
            answer += data
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    return document["size"], document["sha256"]
