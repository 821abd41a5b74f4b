"""What the admin port of the real daemon says after known traffic."""

import json
import socket
import ssl
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

from pebble.server import free_port
from tests.support.cached import NO_CA, get, keep_certificates, plain, reload, start_cached, status, tls
from tests.support.command import command
from tests.support.daemon import DaemonProcess, eventually
from tests.support.raw_upstream import Peer, RawUpstream
from tests.support.scrape import fetch, risen, scrape
from tests.support.small_server import threaded_server

HOST, OTHER, DEAD = "one.example.test", "other.example.test", "dead.example.test"


@pytest.fixture
def upstream_url() -> Iterator[str]:
    with threaded_server("hello") as server:
        yield server.url


@pytest.fixture
def port(daemon: DaemonProcess, upstream_url: str) -> int:
    """Where the admin port of a running daemon is."""
    found = free_port()
    hosts = {HOST: upstream_url, OTHER: upstream_url, DEAD: "http://127.0.0.1:1"}
    start_cached(daemon, hosts, admin={"listen": f"127.0.0.1:{found}"})
    return found


def test_requests_are_counted_by_host_and_class(daemon: DaemonProcess, port: int, upstream_url: str) -> None:
    before = scrape(port)
    for _ in range(3):
        assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert status(tls(daemon.https_port, HOST, get("nobody.example.com"))) == 421
    assert status(tls(daemon.https_port, DEAD, get(DEAD))) == 502
    assert status(plain(daemon.http_port, get(HOST))) == 308
    assert status(plain(daemon.http_port, get("nobody.example.com"))) == 421
    with pytest.raises(ssl.SSLError):
        tls(daemon.https_port, "nobody.example.com", b"")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls(daemon.https_port, HOST, b"", before=b"GET / HTTP/1.0\r\n\r\n")
    post = f"POST / HTTP/1.1\r\nHost: {OTHER}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody".encode()
    assert tls(daemon.https_port, OTHER, post)
    eventually(lambda: scrape(port)["proxyd_connections_open", "https"] == 0)
    after = scrape(port)
    assert risen(before, after, "proxyd_requests_total") == {
        ("2xx", HOST): 3,
        ("3xx", HOST): 1,
        ("2xx", OTHER): 1,
        ("4xx", ""): 2,
        ("5xx", DEAD): 1,
    }
    assert risen(before, after, "proxyd_request_duration_seconds_count") == {(): 6}  # not what port 80 answers
    assert risen(before, after, "proxyd_request_duration_seconds_bucket")["60.0",] == 6
    assert risen(before, after, "proxyd_response_bytes_total") == {(): 4 * len("hello")}
    assert risen(before, after, "proxyd_request_bytes_total") == {(): 4}
    assert risen(before, after, "proxyd_handshakes_total") == {("ok",): 6, ("refused_name",): 1, ("failed",): 1}
    assert risen(before, after, "proxyd_connections_total") == {("https",): 8, ("http",): 2}
    assert risen(before, after, "proxyd_upstream_errors_total") == {("connect", "http://127.0.0.1:1"): 1}
    assert risen(before, after, "proxyd_limits_hit_total") == {}
    assert after["proxyd_requests_in_flight",] == after["proxyd_tunnels_open",] == 0
    assert after["proxyd_upstream_healthy", upstream_url] == 1
    assert after["proxyd_upstream_response_seconds_count", upstream_url] == 4
    assert 0 < after["proxyd_upstream_response_seconds_sum", upstream_url] < 10
    assert not [key for key in after if "nobody.example.com" in key]


def test_a_request_that_is_refused_in_its_body_is_one(daemon: DaemonProcess) -> None:
    """Counted and logged once, by its host, as what the client was told."""
    found = free_port()
    chunked = f"POST /chunks HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n".encode()
    stalled = f"POST /stalls HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nb".encode()
    with RawUpstream() as upstream:
        hosts = {HOST: {"upstream": upstream.port, "timeouts": {"idle": "1s"}}}
        start_cached(daemon, hosts, admin={"listen": f"127.0.0.1:{found}"}, log={"level": "info", "format": "json"})
        before = scrape(found)
        answers = [tls(daemon.https_port, HOST, sent) for sent in (chunked, stalled)]
        assert [status(one) for one in answers] == [400, 408]
        eventually(lambda: daemon.log().count('"target"') >= 2, what=daemon.log)
        after = scrape(found)
    assert risen(before, after, "proxyd_requests_total") == {("4xx", HOST): 2}
    assert risen(before, after, "proxyd_request_duration_seconds_count") == {(): 2}
    assert risen(before, after, "proxyd_limits_hit_total") == {("idle_timeout",): 1}
    assert after["proxyd_requests_in_flight",] == 0
    logged = [json.loads(line) for line in daemon.log().splitlines() if '"target"' in line]
    assert [(one["host"], one["target"], one["status"]) for one in logged] == [
        (HOST, "/chunks", 400),
        (HOST, "/stalls", 408),
    ]
    for one, answer in zip(logged, answers, strict=True):
        assert f"Request ID: {one['request_id']}".encode() in answer


def test_certificates_are_told(daemon: DaemonProcess, port: int) -> None:
    row = command(daemon, "status", "--json").json["hosts"][HOST]  # when the cache was read
    samples = scrape(port)
    assert samples["proxyd_certificate_state", HOST, row["state"]] == 1
    assert samples["proxyd_certificate_not_after_timestamp_seconds", HOST] > samples["process_start_time_seconds",]
    assert samples["proxyd_certificate_failures", HOST] == row["failures"]
    assert samples["proxyd_certificate_needs_attention", HOST] == row["needs_a_person"]
    assert samples["proxyd_trouble", "clock"] == samples["proxyd_trouble", "cache"] == 0
    assert json.loads(fetch(port, "/status.json")[1]) == command(daemon, "status", "--json").json
    families = [*open_metrics(fetch(port, "/metrics", accept="application/openmetrics-text;version=1.0.0")[1])]
    assert "proxyd_acme_budget_remaining" in {one.name for one in families}


def test_what_is_open_is_told_while_it_is(daemon: DaemonProcess) -> None:
    """A request that waits, and a tunnel."""
    port = free_port()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with RawUpstream() as upstream:
        upstream.script = None
        name = f"http://127.0.0.1:{upstream.port}"
        start_cached(daemon, {HOST: upstream.port}, admin={"listen": f"127.0.0.1:{port}"})
        with (
            socket.create_connection(("127.0.0.1", daemon.https_port), 10) as sock,
            context.wrap_socket(sock, server_hostname=HOST) as client,
        ):
            lines = "Connection: upgrade\r\nUpgrade: x"
            client.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n\r\n".encode())
            peer: Peer = upstream.accept()
            peer.head()
            samples = scrape(port)
            assert samples["proxyd_requests_in_flight",] == 1
            assert samples["proxyd_upstream_requests_in_flight", name] == 1
            assert samples["proxyd_connections_open", "https"] == 1
            assert samples["proxyd_connections_by_state", "request"] == 1
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            client.recv(1000)
            client.sendall(b"to the upstream")
            assert peer.exactly(15)
            samples = scrape(port)
            assert (samples["proxyd_tunnels_open",], samples["proxyd_upgrades_total",]) == (1, 1)
            assert samples["proxyd_requests_in_flight",] == 0
            assert samples["proxyd_connections_by_state", "tunnel"] == 1
            assert samples["proxyd_request_bytes_total",] == 15
        eventually(lambda: scrape(port)["proxyd_tunnels_open",] == 0)
        samples = scrape(port)
        assert samples["proxyd_requests_total", "1xx", HOST] == 1
        assert samples["proxyd_request_duration_seconds_count",] == 0


def test_a_reload_keeps_what_was_counted(daemon: DaemonProcess, port: int, upstream_url: str) -> None:
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert status(tls(daemon.https_port, OTHER, get(OTHER))) == 200
    assert status(tls(daemon.https_port, DEAD, get(DEAD))) == 502
    changed = {HOST: {"upstream": upstream_url, "max_body": 1000}, DEAD: {"upstream": 1, "max_body": 1000}}
    daemon.configure(changed, acme=NO_CA, admin={"listen": f"127.0.0.1:{port}"})
    reload(daemon)
    assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    assert status(tls(daemon.https_port, DEAD, get(DEAD))) == 502
    samples = scrape(port)
    assert samples["proxyd_requests_total", "2xx", HOST] == 2
    assert samples["proxyd_requests_total", "2xx", OTHER] == 1, "a counter never goes back"
    assert samples["proxyd_upstream_errors_total", "connect", "http://127.0.0.1:1"] == 2
    assert ("proxyd_certificate_state", OTHER, "ready") not in samples


def test_an_upstream_that_is_left_out_is_not_healthy(daemon: DaemonProcess, upstream_url: str) -> None:
    port = free_port()
    upstreams = ["http://127.0.0.1:1", upstream_url]
    start_cached(daemon, {HOST: {"upstream": upstreams, "balance": "first"}}, admin={"listen": f"127.0.0.1:{port}"})
    for _ in range(3):
        assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    samples = scrape(port)
    assert [samples["proxyd_upstream_healthy", one] for one in upstreams] == [0, 1]
    assert samples["proxyd_upstream_errors_total", "connect", upstreams[0]] == 3
    assert samples["proxyd_requests_total", "2xx", HOST] == 3


def test_only_who_asks_by_an_address_is_answered(port: int) -> None:
    assert fetch(port, "/healthz") == (200, "alive\n")
    assert fetch(port, "/readyz", host="localhost") == (200, "ready\n")
    for path in ("/metrics", "/status.json", "/healthz", "/nothing"):
        assert fetch(port, path, host="rebound.example.com")[0] == 421
    assert fetch(port, "/nothing")[0] == 404


def test_a_daemon_whose_admin_port_is_taken_serves_all_the_same(daemon: DaemonProcess, upstream_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        start_cached(daemon, {HOST: upstream_url}, admin={"listen": f"127.0.0.1:{number}"})
        assert status(tls(daemon.https_port, HOST, get(HOST))) == 200
    errors = [line for line in daemon.log().splitlines() if " ERROR " in line]
    assert len(errors) == 1, errors
    assert f"another program uses port {number}" in errors[0]
    assert command(daemon, "status").status in (0, 1)


def test_the_trouble_of_hosts_leaves_the_daemon_ready(daemon: DaemonProcess, upstream_url: str) -> None:
    """One has no certificate, and its CA does not answer; of another the application is away."""
    port = free_port()
    keep_certificates(daemon, DEAD)
    daemon.configure({HOST: upstream_url, DEAD: 1}, acme=NO_CA, admin={"listen": f"127.0.0.1:{port}"}, ready_path="/up")
    daemon.start()
    eventually(lambda: fetch(port, "/readyz")[0] == 200, what=daemon.log)
    eventually(lambda: command(daemon, "status").status == 1, what=daemon.log)
    assert status(tls(daemon.https_port, DEAD, get(DEAD))) == 502
    assert fetch(port, "/readyz") == (200, "ready\n")
    assert status(plain(daemon.http_port, get(HOST, path="/up"))) == 200
    assert status(tls(daemon.https_port, DEAD, get(DEAD, path="/up"))) == 200


def test_a_daemon_that_stops_is_not_ready(daemon: DaemonProcess) -> None:
    port = free_port()
    with RawUpstream() as upstream:
        upstream.script = None
        start_cached(daemon, {HOST: upstream.port}, admin={"listen": f"127.0.0.1:{port}"}, drain="3s")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", daemon.https_port), 10) as sock,
            context.wrap_socket(sock, server_hostname=HOST) as client,
        ):
            client.sendall(get(HOST))
            upstream.accept().head()
            assert fetch(port, "/readyz")[0] == 200
            assert daemon.process is not None
            daemon.process.terminate()
            eventually(lambda: fetch(port, "/readyz")[0] == 503)
            assert fetch(port, "/healthz")[0] == 200
        assert daemon.stop() == 0
