"""A CA of one's own, a CDN in front, a backup and a restore, as the documents tell them: with a real CA."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from pebble.server import Pebble, free_port
from tests.support.command import command
from tests.support.daemon import DaemonProcess, HttpsClient, eventually
from tests.support.documents import run, snippet
from tests.support.upstream import Upstream

HOST, BEHIND = "wiki.internal", "example.com"


class Edge(BaseHTTPRequestHandler):
    """A CDN: passes what comes to its port 80 on to ours, and says who asked and how."""

    ours = 0
    proto = "http"

    def do_GET(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.ours, timeout=10)
        told = {"Host": self.headers["Host"], "X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": self.proto}
        connection.request("GET", self.path, headers=told)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def restored(make_daemon: Callable[[], DaemonProcess]) -> DaemonProcess:
    return make_daemon()


def test_a_private_ca_and_a_restored_cache_that_orders_nothing(
    tmp_path: Path, daemon: DaemonProcess, restored: DaemonProcess, upstream: Upstream
) -> None:
    with Pebble(tmp_path / "pebble", http_port=daemon.http_port, tls_port=daemon.https_port) as pebble:
        written = snippet("private-ca.md", "wiki.internal: http").text
        written = written.replace("https://ca.internal:9000/acme/acme/directory", pebble.url)
        told = yaml.safe_load(written.replace("/etc/proxyd/ca-root.pem", str(pebble.bundle)))
        assert told["acme"] == {"server": pebble.url, "ca_bundle": str(pebble.bundle)}
        daemon.configure({HOST: upstream.port}, acme=told["acme"])
        daemon.start()
        client = HttpsClient(daemon.https_port, pebble.root())
        client.wait_for([HOST], daemon=daemon)
        leaf, orders = client.leaf(HOST), pebble.orders()
        eventually(lambda: daemon.journal("SELECT 1 FROM event WHERE kind = 'certificate issued'"), what=daemon.log)
        archive = {"/var/backups": tmp_path, "/var/lib/proxyd": daemon.cache}
        run(snippet("backup.md", "tar --create"), archive)
        assert (tmp_path / "proxyd.tar.gz").stat().st_mode & 0o077 == 0
        daemon.stop()

        run(snippet("backup.md", "tar --extract"), {**archive, "/var/lib/proxyd": restored.cache})
        restored.configure({HOST: upstream.port}, acme=told["acme"])
        before = command(restored, "status")
        assert (before.status, "ready" in before.out) == (0, True), before.out + before.err
        restored.start()
        assert HttpsClient(restored.https_port, pebble.root()).leaf(HOST) == leaf
        assert "gave certificate" in command(restored, "explain", HOST).out  # its history came along
        assert pebble.orders() == orders
        row = command(restored, "status", "--json").json["hosts"][HOST]
        assert (row["state"], row["failures"]) == ("ready", 0)


def test_behind_a_cdn_that_passes_port_80_on(tmp_path: Path, daemon: DaemonProcess, upstream: Upstream) -> None:
    edge_port = free_port()
    told = yaml.safe_load(snippet("load-balancer.md", "challenges: [http-01]").text)
    told["trusted_proxies"] = [one.replace("192.0.2.0/24", "127.0.0.1/32") for one in told["trusted_proxies"]]
    with Pebble(tmp_path / "pebble", http_port=edge_port, tls_port=free_port()) as pebble:
        acme = {**told.pop("acme"), "server": pebble.url, "ca_bundle": str(pebble.bundle)}
        daemon.configure({BEHIND: upstream.port}, acme=acme, **{key: told[key] for key in told.keys() - {"hosts"}})
        daemon.start()
        with _edge(edge_port, daemon.http_port):
            HttpsClient(daemon.https_port, pebble.root()).wait_for([BEHIND], daemon=daemon)
            assert _asked(edge_port)[0] == 308
            Edge.proto = "https"
            status, content = _asked(edge_port)
            assert status == 200
            fields = {name.lower(): value for name, value in json.loads(content)["headers"]}
            assert fields["x-forwarded-for"].split(", ")[0] == "198.51.100.9"
            assert fields["x-forwarded-proto"] == "https"


def _asked(port: int) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/page", headers={"Host": BEHIND})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@contextmanager
def _edge(port: int, ours: int) -> Iterator[None]:
    Edge.ours, Edge.proto = ours, "http"
    with ThreadingHTTPServer(("127.0.0.1", port), Edge) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
